// Command bento is the stream processor Bento with only the components that the benchmark's
// configurations name: the whole of it takes several times as long to build, and runs no faster.
package main

import (
	"context"

	"github.com/warpstreamlabs/bento/public/service"

	// input and output kafka_franz
	_ "github.com/warpstreamlabs/bento/public/components/kafka"
	// input http_client, output drop
	_ "github.com/warpstreamlabs/bento/public/components/io"
	// Bloblang's functions, processors mapping and group_by_value
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	// processor redis
	_ "github.com/warpstreamlabs/bento/public/components/redis"
)

func main() {
	service.RunCLI(context.Background())
}
