import com.fasterxml.jackson.databind.ObjectMapper;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.pulsar.common.api.proto.BaseCommand;

/**
 * Decodes commands by Pulsar's own classes. Each line of standard input is a BaseCommand in hexadecimal digits; it prints a
 * JSON object for each, with the fields that are set. A field has the name that its accessor has ({@code brokerServiceUrl}),
 * an enumeration its name, bytes their count.
 */
public class PulsarDecode {
    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        ObjectMapper json = new ObjectMapper();
        for (String line; (line = lines.readLine()) != null; ) {
            byte[] bytes = HexFormat.of().parseHex(line);
            BaseCommand command = new BaseCommand();
            command.parseFrom(Unpooled.wrappedBuffer(bytes), bytes.length);
            System.out.println(json.writeValueAsString(value(command)));
        }
    }

    /** The fields of a message that are set, by name. */
    private static Map<String, Object> fields(Object message) throws Exception {
        Map<String, Object> found = new TreeMap<>();
        for (Method method : message.getClass().getMethods()) {
            String name = method.getName();
            if (method.getParameterCount() == 0 && name.startsWith("has") && method.getReturnType() == boolean.class) {
                if ((boolean) method.invoke(message)) {
                    String field = name.substring(3);
                    found.put(lower(field), value(get(message, field)));
                }
            } else if (name.startsWith("get") && name.endsWith("At") && method.getParameterCount() == 1) {
                // getSegmentAt belongs to getSegmentsCount, getEntryAt to getEntriesCount.
                String one = name.substring(3, name.length() - 2);
                for (String many : List.of(one + "s", one, one.replaceFirst("y$", "ies"), one + "es")) {
                    int count = count(message, many);
                    if (count > 0) {
                        List<Object> values = new ArrayList<>();
                        for (int i = 0; i < count; i++) {
                            values.add(value(method.invoke(message, i)));
                        }
                        found.put(lower(many), values);
                    }
                    if (count >= 0) {
                        break;
                    }
                }
            }
        }
        return found;
    }

    private static Object get(Object message, String field) throws Exception {
        try {
            return message.getClass().getMethod("get" + field).invoke(message);
        } catch (NoSuchMethodException isBoolean) {
            return message.getClass().getMethod("is" + field).invoke(message);
        }
    }

    /** How many values a repeated field has; -1 if there is none of this name. */
    private static int count(Object message, String field) throws IllegalAccessException, InvocationTargetException {
        try {
            return (int) message.getClass().getMethod("get" + field + "Count").invoke(message);
        } catch (NoSuchMethodException absent) {
            return -1;
        }
    }

    private static Object value(Object value) throws Exception {
        if (value instanceof ByteBuf bytes) {
            return bytes.readableBytes();
        } else if (value instanceof byte[] bytes) {
            return bytes.length;
        } else if (value instanceof Long number) {
            return Long.toUnsignedString(number);
        } else if (value instanceof Enum || value instanceof String) {
            return value.toString();
        } else if (value instanceof Number || value instanceof Boolean) {
            return value;
        }
        return fields(value);
    }

    private static String lower(String name) {
        return Character.toLowerCase(name.charAt(0)) + name.substring(1);
    }
}
