//! Kafka's jars, from Maven.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The newest stable release; its brokers run on Java 17 or later.
const KAFKA: &str = "4.3.1";
/// Of the log4j that this Kafka brings.
const LOG4J: &str = "2.25.4";
const JAVA_MIN: u32 = 17;

/// Where clusters and jars are kept between runs: below the target directory.
pub(crate) fn cache_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    target.join("cluster")
}

/// The directory with the jars, filled on first use.
pub(crate) fn fetch() -> Result<PathBuf> {
    check_java()?;
    let libs = cache_dir().join(format!("kafka-libs-{KAFKA}"));
    if libs.exists() {
        return Ok(libs.canonicalize()?);
    }
    // Filled beside, then renamed: a download that was cut short is never taken for whole.
    let fresh = cache_dir().join(format!("kafka-libs.{}", std::process::id()));
    std::fs::create_dir_all(&fresh)?;
    let fresh = fresh.canonicalize()?;
    let result = copy_dependencies(&fresh);
    if result.is_ok() && std::fs::rename(&fresh, &libs).is_err() && !libs.exists() {
        bail!("cannot rename {} to {}", fresh.display(), libs.display());
    }
    std::fs::remove_dir_all(&fresh).ok();
    result?;
    Ok(libs.canonicalize()?)
}

fn copy_dependencies(dir: &Path) -> Result<()> {
    std::fs::write(dir.join("pom.xml"), pom())?;
    let output = Command::new("mvn")
        .args([
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
        ])
        .arg(format!("-DoutputDirectory={}", dir.display()))
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .context("mvn not found: install Maven (`apt-get install maven`) to fetch Kafka's jars")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        let reason = text
            .lines()
            .find(|l| l.contains("ERROR"))
            .unwrap_or("no reason given");
        bail!("Maven could not fetch Kafka {KAFKA}: {reason}");
    }
    Ok(())
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>\n"
        )
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  \
         <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>dev.gristmill</groupId><artifactId>cluster</artifactId><version>1</version>\n  \
         <dependencies>\n{}{}{}  </dependencies>\n</project>\n",
        dependency("org.apache.kafka", "kafka_2.13", KAFKA),
        // AclCommand and its like.
        dependency("org.apache.kafka", "kafka-tools", KAFKA),
        // Without it slf4j drops the brokers' logs.
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J),
    )
}

fn check_java() -> Result<()> {
    let remedy = format!(
        "install Java {JAVA_MIN} or later (`apt-get install openjdk-{JAVA_MIN}-jre-headless`)"
    );
    let output = Command::new("java")
        .arg("-version")
        .output()
        .with_context(|| format!("java not found: {remedy}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    match java_major(&text) {
        Some(major) if major >= JAVA_MIN => Ok(()),
        Some(major) => bail!("Java {major} is too old for Kafka {KAFKA}: {remedy}"),
        None => bail!("cannot tell the version of Java: {remedy}"),
    }
}

fn java_major(text: &str) -> Option<u32> {
    let version = text.split('"').nth(1)?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_versions() {
        assert_eq!(
            java_major("openjdk version \"17.0.15\" 2025-04-15"),
            Some(17)
        );
        assert_eq!(java_major("openjdk version \"21-ea\""), Some(21));
        assert_eq!(java_major("java version \"1.8.0_401\""), Some(1));
        assert_eq!(java_major("no java"), None);
    }
}
