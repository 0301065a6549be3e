//! The cluster, as options of a table.

use gristmill_manifest::Kafka;

use super::text::secret;

/// The options that every table on the cluster has.
pub(super) fn options(kafka: &Kafka) -> Result<Vec<(String, String)>, Vec<String>> {
    let mut reasons = Vec::new();
    if kafka.brokers.is_empty() {
        reasons.push(
            "no brokers: Arroyo reads Kafka; add `kafka: {brokers: [127.0.0.1:9092]}`".to_owned(),
        );
    }
    let mut options = vec![("bootstrap_servers".to_owned(), kafka.brokers.join(","))];
    let mut plain = Vec::new();
    let sasl = kafka.properties.contains_key("sasl.mechanism")
        || kafka.properties.contains_key("sasl.mechanisms");
    if sasl {
        options.push(("auth.type".to_owned(), "sasl".to_owned()));
    }
    for (key, value) in &kafka.properties {
        let option = match key.as_str() {
            "security.protocol" if sasl => "auth.protocol",
            "sasl.mechanism" | "sasl.mechanisms" => "auth.mechanism",
            "sasl.username" => "auth.username",
            "sasl.password" => "auth.password",
            _ => "",
        };
        match (option, secret(value.as_written())) {
            ("auth.password", Ok(None)) => reasons.push(
                "`kafka.properties.sasl.password` would be printed: make it a secret, \
                 `${{ secrets.NAME }}`"
                    .to_owned(),
            ),
            (_, Err(reason)) => reasons.push(format!("`kafka.properties.{key}`: {reason}")),
            ("", Ok(Some(_))) => reasons.push(format!(
                "`kafka.properties.{key}`: Arroyo fills in variables in its login options only"
            )),
            ("", Ok(None)) if value.contains([',', '=']) => reasons.push(format!(
                "`kafka.properties.{key}`: Arroyo's client_configs cannot hold `,` and `=`"
            )),
            ("", Ok(None)) => plain.push(format!("{key}={}", value.as_written())),
            (option, Ok(filled)) => {
                let value = filled.unwrap_or_else(|| value.as_written().to_owned());
                options.push((option.to_owned(), value));
            }
        }
    }
    if !plain.is_empty() {
        options.push(("client_configs".to_owned(), plain.join(",")));
    }
    if reasons.is_empty() {
        Ok(options)
    } else {
        Err(reasons)
    }
}
