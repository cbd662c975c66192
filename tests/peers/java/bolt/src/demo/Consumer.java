package demo;

import com.alipay.remoting.rpc.RpcClient;
import com.google.gson.Gson;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Calls what its standard input tells it, one JSON object per line:
 *
 * <pre>{"id":1,"address":"host:port","protocol":2,"text":"hi","more":false,"mode":"sync"}</pre>
 *
 * Modes: sync, oneway.
 */
public final class Consumer {
    private static final Gson GSON = new Gson();
    // Bolt keeps a connection per address whatever version was asked for: a client for each.
    private static final Map<String, RpcClient> CLIENTS = new ConcurrentHashMap<>();

    private Consumer() {}

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        ExecutorService pool = Executors.newCachedThreadPool();
        out.println("READY 1.6.7");
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
            int protocol = command.get("protocol").getAsInt();
            String address = command.get("address").getAsString() + "?_PROTOCOL=" + protocol;
            if (protocol == 2) {
                address += "&_VERSION=2";
            }
            RpcClient client = CLIENTS.computeIfAbsent(address, unused -> {
                RpcClient fresh = new RpcClient();
                fresh.startup();
                return fresh;
            });
            boolean more = command.has("more") && command.get("more").getAsBoolean();
            Words words = more ? new MoreWords() : new Words();
            words.text = command.get("text").getAsString();
            words.delay = command.has("delay") ? command.get("delay").getAsInt() : 0;
            words.fail = command.has("fail") && command.get("fail").getAsBoolean();
            int timeout = command.has("timeout") ? command.get("timeout").getAsInt() : 10_000;
            if (command.has("mode") && command.get("mode").getAsString().equals("oneway")) {
                client.oneway(address, words);
                answer.put("value", null);
            } else {
                answer.put("value", client.invokeSync(address, words, timeout));
            }
        } catch (Throwable thrown) {
            Map<String, Object> error = new LinkedHashMap<>();
            error.put("class", thrown.getClass().getName());
            error.put("message", String.valueOf(thrown.getMessage()));
            answer.put("error", error);
        }
        answer.put("millis", (System.nanoTime() - start) / 1_000_000);
        return answer;
    }
}
