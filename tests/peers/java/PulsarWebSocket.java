import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.websocket.service.WebSocketServiceStarter;

/**
 * Pulsar's WebSocket proxy and a client of it, in one JVM.
 *
 * <p>Arguments: the proxy's configuration file, its port, a topic (public/default/t). The client sends a message, receives
 * it, and prints a JSON object.
 */
public class PulsarWebSocket {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        WebSocketServiceStarter.main(new String[] {args[0]});
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("topic", args[2]);
        int status = 0;
        try {
            String url = "ws://127.0.0.1:" + args[1] + "/ws/v2/";
            Answers received = new Answers(url + "consumer/persistent/" + args[2] + "/peer");
            Answers confirmed = new Answers(url + "producer/persistent/" + args[2]);
            String payload = Base64.getEncoder().encodeToString("hello".getBytes(StandardCharsets.US_ASCII));
            confirmed.socket.sendText(JSON.writeValueAsString(Map.of("payload", payload)), true);
            report.put("sent", confirmed.next().path("result").asText().equals("ok") ? 1 : 0);
            report.put("received", received.next().path("payload").asText().equals(payload) ? 1 : 0);
        } catch (Exception failure) {
            status = 3;
            report.put("error", failure.getClass().getSimpleName());
            report.put("root", failure.toString());
        }
        System.out.println(JSON.writeValueAsString(report));
        System.exit(status);
    }

    /** A connection, and the messages that came on it. */
    private static class Answers implements WebSocket.Listener {
        private final LinkedBlockingQueue<String> texts = new LinkedBlockingQueue<>();
        private final StringBuilder text = new StringBuilder();
        final WebSocket socket;

        Answers(String url) throws Exception {
            socket = HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(url), this)
                    .get(30, TimeUnit.SECONDS);
        }

        @Override
        public CompletionStage<?> onText(WebSocket from, CharSequence part, boolean last) {
            text.append(part);
            if (last) {
                texts.add(text.toString());
                text.setLength(0);
            }
            from.request(1);
            return null;
        }

        JsonNode next() throws Exception {
            String found = texts.poll(30, TimeUnit.SECONDS);
            if (found == null) {
                throw new IllegalStateException("no answer");
            }
            return JSON.readTree(found);
        }
    }
}
