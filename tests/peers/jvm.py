"""The commands of the JVMs."""

from __future__ import annotations

from tests.peers import jdk, provide, versions
from tests.peers.versions import Pulsar

#: The metadata drivers that BookKeeper would otherwise look for in its own distribution; doors that Pulsar opens in
#: the JDK; and little memory and quick starts rather than speed.
JAVA_FLAGS = (
    "-Djava.net.preferIPv4Stack=true",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dio.netty.leakDetectionLevel=disabled",
    "-Dbookkeeper.metadata.bookie.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataBookieDriver",
    "-Dbookkeeper.metadata.client.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataClientDriver",
    f"-Dlog4j.configurationFile={provide.HERE / 'conf' / 'log4j2.xml'}",
    "-Dlog4j2.disableJmx=true",
    "--add-opens=java.base/jdk.internal.loader=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.platform=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.util.zip=ALL-UNNAMED",
    "--add-opens=java.base/sun.net=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.management/sun.management=ALL-UNNAMED",
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
)


def java_command(main: str, heap: str, log_level: str, pulsar: Pulsar | None = None) -> list[str]:
    """The beginning of a command that runs one of our Java classes; its arguments follow.

    `pulsar`: the version whose jars it uses. None: that of this run.
    """
    pulsar = pulsar or versions.current()
    home = provide.java_home(pulsar)
    flags = [
        *JAVA_FLAGS,
        *jdk.quiet_flags(home),
        *_sharing_flags(pulsar),
        f"-Xmx{heap}",
        f"-Dpeers.log.level={log_level}",
    ]
    return [str(home / "bin" / "java"), *flags, "-cp", provide.classpath(pulsar), main]


def _sharing_flags(pulsar: Pulsar) -> list[str]:
    archive = provide.archive(pulsar)
    # Java would warn that it shares less with these flags than with others.
    return [] if archive is None else [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off"]
