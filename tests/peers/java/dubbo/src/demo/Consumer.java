package demo;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.ToNumberPolicy;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.dubbo.common.Version;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import org.apache.dubbo.rpc.service.EchoService;
import org.apache.dubbo.rpc.service.GenericService;

/**
 * Calls what its standard input tells it, one JSON object per line, and prints one JSON object per
 * answer, in the order in which they come:
 *
 * <pre>{"id":1,"url":"dubbo://host:port","method":"add","args":[1,2],"attachments":{},"mode":"sync"}</pre>
 *
 * Modes: sync, oneway, generic (with "types"), echo.
 */
public final class Consumer {
    private static final Gson GSON = new GsonBuilder()
            .serializeNulls()
            .disableHtmlEscaping()
            .setObjectToNumberStrategy(ToNumberPolicy.LONG_OR_DOUBLE)
            .create();
    private static final Map<String, Object> REFERENCES = new ConcurrentHashMap<>();
    private static final ApplicationConfig APPLICATION = new ApplicationConfig("consumer");

    private Consumer() {}

    public static void main(String[] args) throws Exception {
        APPLICATION.setQosEnable(false);
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        ExecutorService pool = Executors.newCachedThreadPool();
        out.println("READY " + Version.getVersion());
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonObject command = GSON.fromJson(line, JsonObject.class);
            pool.execute(() -> {
                String answer = GSON.toJson(answer(command));
                synchronized (out) {
                    out.println(answer);
                }
            });
        }
        Runtime.getRuntime().halt(0);
    }

    private static Map<String, Object> answer(JsonObject command) {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("id", command.get("id").getAsLong());
        long start = System.nanoTime();
        try {
            Object reference = reference(command);
            start = System.nanoTime();
            RpcContext.removeContext();
            Flavor.forget();
            if (command.has("attachments")) {
                for (Map.Entry<String, JsonElement> entry :
                        command.getAsJsonObject("attachments").entrySet()) {
                    RpcContext.getContext()
                            .setAttachment(entry.getKey(), entry.getValue().getAsString());
                }
            }
            answer.put("value", call(reference, command));
            answer.put("attachments", Flavor.answerAttachments());
        } catch (Throwable thrown) {
            answer.put("error", describe(thrown));
        }
        answer.put("millis", (System.nanoTime() - start) / 1_000_000);
        return answer;
    }

    private static Object call(Object reference, JsonObject command) throws Throwable {
        String method = command.get("method").getAsString();
        JsonArray args = command.has("args") ? command.getAsJsonArray("args") : new JsonArray();
        switch (text(command, "mode", "sync")) {
            case "generic":
                return ((GenericService) reference)
                        .$invoke(
                                method,
                                GSON.fromJson(command.get("types"), String[].class),
                                ((List<?>) plain(GSON.fromJson(args, Object.class))).toArray());
            case "echo":
                return ((EchoService) reference).$echo(args.get(0).getAsString());
            default:
                Method target = target(method);
                Object[] values = new Object[args.size()];
                for (int at = 0; at < values.length; at++) {
                    values[at] = plain(GSON.fromJson(args.get(at), target.getGenericParameterTypes()[at]));
                }
                try {
                    return target.invoke(reference, values);
                } catch (InvocationTargetException e) {
                    throw e.getCause();
                }
        }
    }

    /** The same with the JDK's own collections: Dubbo refuses those of the JSON library. */
    private static Object plain(Object value) {
        if (value instanceof Map) {
            Map<Object, Object> map = new HashMap<>();
            ((Map<?, ?>) value).forEach((key, entry) -> map.put(key, plain(entry)));
            return map;
        }
        if (value instanceof List) {
            List<Object> list = new ArrayList<>();
            ((List<?>) value).forEach(entry -> list.add(plain(entry)));
            return list;
        }
        return value;
    }

    private static Method target(String name) {
        for (Method method : DemoService.class.getMethods()) {
            if (method.getName().equals(name)) {
                return method;
            }
        }
        throw new IllegalArgumentException("DemoService has no method " + name);
    }

    private static Object reference(JsonObject command) {
        String mode = text(command, "mode", "sync");
        String url = text(command, "url", null);
        String group = text(command, "group", "");
        String version = text(command, "version", "");
        String service = text(command, "interface", DemoService.class.getName());
        int timeout = command.has("timeout") ? command.get("timeout").getAsInt() : 10_000;
        int connections = command.has("connections") ? command.get("connections").getAsInt() : 0;
        String key = String.join(
                "|", mode, url, group, version, service, Integer.toString(timeout), Integer.toString(connections));
        return REFERENCES.computeIfAbsent(key, unused -> {
            ReferenceConfig<Object> reference = new ReferenceConfig<>();
            reference.setApplication(APPLICATION);
            reference.setUrl(url);
            reference.setCheck(false);
            reference.setRetries(0);
            reference.setTimeout(timeout);
            if (connections > 0) {
                reference.setConnections(connections);
            }
            if (!group.isEmpty()) {
                reference.setGroup(group);
            }
            if (!version.isEmpty()) {
                reference.setVersion(version);
            }
            if (mode.equals("generic")) {
                reference.setInterface(service);
                reference.setGeneric("true");
            } else {
                reference.setInterface(DemoService.class);
            }
            if (mode.equals("oneway")) {
                MethodConfig tell = new MethodConfig();
                tell.setName("tell");
                tell.setReturn(false);
                tell.setSent(true);
                reference.setMethods(List.of(tell));
            }
            return reference.get();
        });
    }

    private static Map<String, Object> describe(Throwable thrown) {
        Map<String, Object> error = new LinkedHashMap<>();
        error.put("class", thrown.getClass().getName());
        error.put("message", String.valueOf(thrown.getMessage()));
        if (thrown instanceof RpcException) {
            error.put("code", ((RpcException) thrown).getCode());
        }
        if (thrown instanceof DemoException) {
            error.put("code", ((DemoException) thrown).getCode());
        }
        return error;
    }

    private static String text(JsonObject command, String name, String otherwise) {
        return command.has(name) && !command.get(name).isJsonNull()
                ? command.get(name).getAsString()
                : otherwise;
    }
}
