import java.lang.reflect.Field;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.apache.pulsar.common.api.proto.BaseCommand;
import org.apache.pulsar.common.api.proto.MessageMetadata;

/**
 * Prints Pulsar's binary protocol as the jars have it: {@code field MESSAGE NAME NUMBER TYPE} for each field of each
 * message that a command can carry, and {@code value ENUM NAME NUMBER} for each value of their enums.
 */
public class PulsarProtocol {
    private static final String NUMBER = "_FIELD_NUMBER";

    public static void main(String[] args) throws Exception {
        Deque<Class<?>> waiting = new ArrayDeque<>(List.of(BaseCommand.class, MessageMetadata.class));
        Set<Class<?>> seen = new LinkedHashSet<>(waiting);
        while (!waiting.isEmpty()) {
            Class<?> next = waiting.remove();
            if (next.isEnum()) {
                for (Object value : next.getEnumConstants()) {
                    Object number = next.getMethod("getValue").invoke(value);
                    System.out.println("value " + name(next) + " " + value + " " + number);
                }
                continue;
            }
            for (Field constant : next.getDeclaredFields()) {
                if (constant.getName().endsWith(NUMBER)) {
                    constant.setAccessible(true);
                    String field = constant.getName().substring(1, constant.getName().length() - NUMBER.length());
                    Class<?> type = typeOf(next, field);
                    System.out.println("field " + name(next) + " " + field + " " + constant.get(null) + " " + name(type));
                    boolean ours = type.getPackage() == BaseCommand.class.getPackage();
                    if (ours && !type.getName().contains("LightProtoCodec") && seen.add(type)) {
                        waiting.add(type);
                    }
                }
            }
        }
    }

    /** The type of a field or of its elements. A repeated field may have its name in the plural. */
    private static Class<?> typeOf(Class<?> message, String name) {
        String wanted = plain(name);
        for (Field field : message.getDeclaredFields()) {
            String found = plain(field.getName());
            if (!field.getName().startsWith("_") && (found.equals(wanted) || found.equals(wanted + "s"))) {
                if (field.getType().isArray()) {
                    return field.getType().getComponentType();
                }
                Type type = field.getGenericType();
                return type instanceof ParameterizedType ? (Class<?>) ((ParameterizedType) type).getActualTypeArguments()[0]
                        : field.getType();
            }
        }
        return Object.class;
    }

    private static String plain(String name) {
        return name.replace("_", "").toLowerCase(Locale.ROOT);
    }

    private static String name(Class<?> type) {
        return type.getName().replaceFirst(".*[.]", "").replace('$', '.');
    }
}
