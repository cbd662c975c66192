package demo;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;
import org.apache.dubbo.common.URL;
import org.apache.dubbo.common.extension.ExtensionLoader;
import org.apache.dubbo.common.serialize.ObjectOutput;
import org.apache.dubbo.common.serialize.Serialization;

/**
 * Writes the bodies of calls in every serialization that there is: calls are lines of JSON on its standard input,
 * and it prints one line for each, with the bodies by the serialization's number.
 */
public final class Writer {
    private static final Gson GSON = new Gson();
    private static final URL ANY = URL.valueOf("dubbo://127.0.0.1:1/demo.Greeter");

    private Writer() {}

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Map<Byte, Serialization> all = new TreeMap<>();
        ExtensionLoader<Serialization> loader = ExtensionLoader.getExtensionLoader(Serialization.class);
        for (String name : loader.getSupportedExtensions()) {
            try {
                Serialization one = loader.getExtension(name);
                all.put(one.getContentTypeId(), one);
            } catch (Throwable missing) {
                System.err.println(name + ": " + missing);
            }
        }
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonObject call = GSON.fromJson(line, JsonObject.class);
            Map<String, String> bodies = new TreeMap<>();
            all.forEach((number, serialization) -> {
                try {
                    bodies.put(number.toString(), HexFormat.of().formatHex(body(serialization, call)));
                } catch (Throwable failed) {
                    System.err.println(serialization.getContentType() + ": " + failed);
                }
            });
            out.println(GSON.toJson(bodies));
        }
        Runtime.getRuntime().halt(0);
    }

    private static byte[] body(Serialization serialization, JsonObject call) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        ObjectOutput out = serialization.serialize(ANY, bytes);
        out.writeUTF("2.0.2");
        for (String field : new String[] {"path", "version", "method", "types"}) {
            out.writeUTF(call.get(field).getAsString());
        }
        for (JsonElement arg : call.getAsJsonArray("args")) {
            out.writeObject(value(arg));
        }
        Map<String, Object> attachments = new HashMap<>();
        call.getAsJsonObject("attachments")
                .entrySet()
                .forEach(entry -> attachments.put(entry.getKey(), value(entry.getValue())));
        out.writeAttachments(attachments);
        out.flushBuffer();
        return bytes.toByteArray();
    }

    /** A string, a number, a null, an array of strings (as it is), an array of objects (as {"objects": […]}). */
    private static Object value(JsonElement value) {
        if (value.isJsonNull()) {
            return null;
        }
        if (value.isJsonArray()) {
            return GSON.fromJson(value, String[].class);
        }
        if (value.isJsonObject()) {
            JsonArray parts = value.getAsJsonObject().getAsJsonArray("objects");
            Object[] objects = new Object[parts.size()];
            for (int at = 0; at < objects.length; at++) {
                objects[at] = value(parts.get(at));
            }
            return objects;
        }
        return value.getAsJsonPrimitive().isNumber() ? (Object) value.getAsInt() : value.getAsString();
    }
}
