import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.ClientBuilder;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProxyProtocol;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.impl.auth.AuthenticationTls;

/**
 * A Java client configured call by call as in PIP-60, section "Pulsar-client Configuration": the certificate is given to
 * AuthenticationTls by its class name and parameters, and host names are verified only if the version does so by default.
 *
 * <p>Arguments are key=value: url, proxy, trust, cert, key, topics (one). It sends a message, receives it, and prints a
 * JSON object. The PIP's timeout is one second; here it is ten, for slow machines.
 */
public class PulsarSample {
    public static void main(String[] args) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (String arg : args) {
            int equals = arg.indexOf('=');
            options.put(arg.substring(0, equals), arg.substring(equals + 1));
        }
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("topic", options.get("topics"));
        int status = 0;
        try (PulsarClient client = connect(options)) {
            report.put("sent", 1);
            report.put("received", roundTrip(client, options.get("topics")));
        } catch (Exception failure) {
            status = 3;
            PulsarPeer.report(failure, report);
        }
        System.out.println(new ObjectMapper().writeValueAsString(report));
        System.exit(status);
    }

    @SuppressWarnings("deprecation")
    private static PulsarClient connect(Map<String, String> options) throws Exception {
        ClientBuilder builder = PulsarClient.builder()
                .serviceUrl(options.get("url"))
                .tlsTrustCertsFilePath(options.get("trust"))
                .enableTls(true)
                .allowTlsInsecureConnection(false)
                .proxyServiceUrl(options.get("proxy"), ProxyProtocol.SNI)
                .operationTimeout(10, TimeUnit.SECONDS);
        builder.authentication(AuthenticationTls.class.getName(),
                Map.of("tlsCertFile", options.get("cert"), "tlsKeyFile", options.get("key")));
        return builder.build();
    }

    private static int roundTrip(PulsarClient client, String topic) throws Exception {
        try (Consumer<byte[]> consumer = client.newConsumer().topic(topic).subscriptionName("sample").subscribe();
                Producer<byte[]> producer = client.newProducer().topic(topic).create()) {
            producer.send(new byte[] {60});
            Message<byte[]> message = consumer.receive(10, TimeUnit.SECONDS);
            return message != null && message.getData()[0] == 60 ? 1 : 0;
        }
    }
}
