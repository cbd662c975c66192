package demo;

import com.alipay.sofa.rpc.config.ApplicationConfig;
import com.alipay.sofa.rpc.config.ProviderConfig;
import com.alipay.sofa.rpc.config.ServerConfig;
import com.google.gson.Gson;
import java.lang.reflect.Proxy;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * {@code Oracle <host> <port> <tag>}: serves two interfaces, one of them under two unique ids, and prints a line of
 * JSON for every call that it carries out: what was called, and the tag in the arguments.
 */
public final class Oracle {
    private static final Gson GSON = new Gson();
    private static final Pattern TAG = Pattern.compile("tag-(\\d{1,9});");

    private Oracle() {}

    public static void main(String[] args) throws Exception {
        ServerConfig server = new ServerConfig()
                .setProtocol("bolt")
                .setHost("127.0.0.1")
                .setPort(Integer.parseInt(args[1]))
                .setDaemon(false);
        export(server, Greeter.class, "");
        export(server, Admin.class, "");
        export(server, Admin.class, "blue");
        System.out.println("READY");
        new CountDownLatch(1).await();
    }

    private static <T> void export(ServerConfig server, Class<T> type, String id) {
        ProviderConfig<T> provider = new ProviderConfig<>();
        if (!id.isEmpty()) {
            provider.setUniqueId(id);
        }
        provider.setApplication(new ApplicationConfig().setAppName("oracle"))
                .setInterfaceId(type.getName())
                .setRef(recorder(type, id))
                .setServer(server)
                .setRegister(false)
                .export();
    }

    private static <T> T recorder(Class<T> type, String id) {
        Object recorder = Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (self, method, args) -> {
            Matcher tag = TAG.matcher(Arrays.deepToString(args));
            if (method.getDeclaringClass() == Object.class || !tag.find()) {
                return method.getName().equals("hashCode") ? (Object) 1 : null;
            }
            Map<String, Object> record = new LinkedHashMap<>();
            record.put("tag", Integer.parseInt(tag.group(1)));
            record.put("service", type.getName() + ":1.0" + (id.isEmpty() ? "" : ":" + id));
            record.put("method", method.getName());
            String line = GSON.toJson(record);
            synchronized (Oracle.class) {
                System.out.println(line);
            }
            return "done";
        });
        return type.cast(recorder);
    }
}
