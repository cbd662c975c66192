package demo;

import com.google.gson.Gson;
import java.lang.reflect.Proxy;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.rpc.RpcContext;

/**
 * {@code Oracle <host> <port> <tag>}: serves two interfaces in several groups, versions and paths, and prints a line
 * of JSON for every call that it carries out: what was called, and the tag in the arguments.
 */
public final class Oracle {
    private static final Gson GSON = new Gson();
    private static final Pattern TAG = Pattern.compile("tag-(\\d{1,9});");
    private static final Logger ROOT = Logger.getLogger("");

    private Oracle() {}

    public static void main(String[] args) throws Exception {
        ApplicationConfig application = new ApplicationConfig("oracle");
        application.setQosEnable(false);
        ProtocolConfig protocol = new ProtocolConfig("dubbo", Integer.parseInt(args[1]));
        protocol.setHost(args[0]);
        protocol.setThreads(32);
        Flavor.serve(protocol);
        for (Class<?> type : new Class<?>[] {Greeter.class, Admin.class}) {
            for (String group : new String[] {"", "blue"}) {
                for (String version : new String[] {"", "2.0.0"}) {
                    export(application, protocol, type, "", group, version);
                }
            }
            export(application, protocol, type, "context/" + type.getName(), "", "");
        }
        // Most of what comes is damaged on purpose.
        ROOT.setLevel(Level.OFF);
        System.out.println("READY");
        new CountDownLatch(1).await();
    }

    private static <T> void export(
            ApplicationConfig application,
            ProtocolConfig protocol,
            Class<T> type,
            String path,
            String group,
            String version) {
        ServiceConfig<T> service = new ServiceConfig<>();
        service.setApplication(application);
        service.setProtocol(protocol);
        service.setRegistry(new RegistryConfig("N/A"));
        service.setInterface(type);
        service.setRef(recorder(type, path.isEmpty() ? type.getName() : path, group, version));
        if (!path.isEmpty()) {
            service.setPath(path);
        }
        if (!group.isEmpty()) {
            service.setGroup(group);
        }
        if (!version.isEmpty()) {
            service.setVersion(version);
        }
        service.export();
    }

    private static <T> T recorder(Class<T> type, String path, String group, String version) {
        Object recorder = Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (self, method, args) -> {
            Matcher tag = TAG.matcher(Arrays.deepToString(args));
            if (method.getDeclaringClass() == Object.class || !tag.find()) {
                return method.getName().equals("hashCode") ? 1 : null;
            }
            Map<String, Object> record = new LinkedHashMap<>();
            record.put("tag", Integer.parseInt(tag.group(1)));
            record.put("interface", type.getName());
            record.put("path", path);
            record.put("group", group);
            record.put("version", version);
            record.put("method", method.getName());
            record.put("tenant", RpcContext.getContext().getObjectAttachment("tenant"));
            String line = GSON.toJson(record);
            synchronized (Oracle.class) {
                System.out.println(line);
            }
            return "done";
        });
        return type.cast(recorder);
    }
}
