import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProxyProtocol;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.ServiceUrlProvider;
import org.apache.pulsar.client.impl.AutoClusterFailover;
import org.apache.pulsar.client.impl.SameAuthParamsLookupAutoClusterFailover;

/**
 * A producer with two clusters, and a provider of service URLs that fails over (PIP-121).
 *
 * <p>Arguments are key=value: kind (auto: AutoClusterFailover, which probes by TCP; same:
 * SameAuthParamsLookupAutoClusterFailover, which probes by lookups), primary, secondary, proxy, trust, topics (one). For
 * each line on standard input it sends a message, and prints a JSON object: whether it was confirmed, and the service URL
 * in use. It ends with its standard input.
 */
public class PulsarFailover {
    private static final int TIMEOUT_S = 2;

    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            options.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        ServiceUrlProvider urls = options.get("kind").equals("auto") ? byConnecting(options) : byLookups(options);
        try (PulsarClient client = PulsarClient.builder().serviceUrlProvider(urls)
                .proxyServiceUrl(options.get("proxy"), ProxyProtocol.SNI)
                .tlsTrustCertsFilePath(options.get("trust")).enableTlsHostnameVerification(true)
                .operationTimeout(TIMEOUT_S, TimeUnit.SECONDS).lookupTimeout(TIMEOUT_S, TimeUnit.SECONDS)
                .connectionTimeout(TIMEOUT_S, TimeUnit.SECONDS).statsInterval(0, TimeUnit.SECONDS).build()) {
            serve(client, urls, options.get("topics"));
        }
        System.exit(0);
    }

    private static ServiceUrlProvider byConnecting(Map<String, String> options) throws PulsarClientException {
        return AutoClusterFailover.builder().primary(options.get("primary"))
                .secondary(List.of(options.get("secondary"))).failoverDelay(500, TimeUnit.MILLISECONDS)
                .switchBackDelay(1, TimeUnit.HOURS).checkInterval(100, TimeUnit.MILLISECONDS).build();
    }

    private static ServiceUrlProvider byLookups(Map<String, String> options) {
        return SameAuthParamsLookupAutoClusterFailover.builder()
                .pulsarServiceUrlArray(new String[] {options.get("primary"), options.get("secondary")})
                .failoverThreshold(2).recoverThreshold(10_000).checkHealthyIntervalMs(500)
                .testTopic("persistent://public/default/probe").build();
    }

    private static void serve(PulsarClient client, ServiceUrlProvider urls, String topic) throws Exception {
        Producer<byte[]> producer = null;
        Scanner lines = new Scanner(System.in);
        System.out.println("READY");
        while (lines.hasNextLine()) {
            Map<String, Object> report = new LinkedHashMap<>();
            report.put("text", lines.nextLine());
            report.put("sent", true);
            try {
                if (producer == null) {
                    producer = client.newProducer().topic(topic).enableBatching(false)
                            .sendTimeout(TIMEOUT_S, TimeUnit.SECONDS).create();
                }
                producer.send(report.get("text").toString().getBytes(StandardCharsets.US_ASCII));
            } catch (PulsarClientException failure) {
                report.put("sent", false);
            }
            report.put("url", urls.getServiceUrl());
            System.out.println(new ObjectMapper().writeValueAsString(report));
        }
    }
}
