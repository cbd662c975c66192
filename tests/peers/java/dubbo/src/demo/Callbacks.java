package demo;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.CountDownLatch;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ArgumentConfig;
import org.apache.dubbo.config.MethodConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;

/**
 * Callback arguments: {@code Callbacks provider <host> <port> <tag>} prints READY when it listens;
 * {@code Callbacks consumer <url> <name>} subscribes as name, prints READY, and then one line per answer
 * to the text of each line of its input.
 */
public final class Callbacks implements Notifier {
    private final String tag;
    private final Map<String, Listener> listeners = new ConcurrentSkipListMap<>();

    private Callbacks(String tag) {
        this.tag = tag;
    }

    public static void main(String[] args) throws Exception {
        if (args[0].equals("provider")) {
            provide(args[1], Integer.parseInt(args[2]), args[3]);
        } else {
            consume(args[1], args[2]);
        }
    }

    private static List<MethodConfig> methods() {
        ArgumentConfig listener = new ArgumentConfig();
        listener.setIndex(1);
        listener.setCallback(true);
        MethodConfig subscribe = new MethodConfig();
        subscribe.setName("subscribe");
        subscribe.setArguments(List.of(listener));
        return List.of(subscribe);
    }

    private static ApplicationConfig application(String name) {
        ApplicationConfig application = new ApplicationConfig(name);
        application.setQosEnable(false);
        return application;
    }

    private static void provide(String host, int port, String tag) throws Exception {
        ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
        protocol.setHost(host);
        Flavor.serve(protocol);
        ServiceConfig<Notifier> service = new ServiceConfig<>();
        service.setApplication(application("notifier"));
        service.setProtocol(protocol);
        service.setRegistry(new RegistryConfig("N/A"));
        service.setInterface(Notifier.class);
        service.setRef(new Callbacks(tag));
        service.setMethods(methods());
        service.setTimeout(3000);
        service.export();
        System.out.println("READY");
        new CountDownLatch(1).await();
    }

    private static void consume(String url, String name) throws Exception {
        ReferenceConfig<Notifier> reference = new ReferenceConfig<>();
        reference.setApplication(application("listener"));
        // A registry would say so of the provider.
        reference.setUrl(url + "/" + Notifier.class.getName() + "?subscribe.1.callback=true");
        reference.setCheck(false);
        reference.setRetries(0);
        reference.setTimeout(5000);
        reference.setInterface(Notifier.class);
        Notifier notifier = reference.get();
        Listener listener = text -> name + " heard " + text;
        System.out.println("READY " + notifier.subscribe(name, listener));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = notifier.tell(line);
            } catch (RuntimeException error) {
                answer = error.toString().replace('\n', ' ');
            }
            System.out.println(answer);
        }
        Runtime.getRuntime().halt(0);
    }

    @Override
    public String subscribe(String name, Listener listener) {
        listeners.put(name, listener);
        return tag;
    }

    @Override
    public String tell(String text) {
        StringBuilder answers = new StringBuilder(tag);
        listeners.forEach((name, listener) -> {
            String answer;
            try {
                answer = listener.hear(text);
            } catch (RuntimeException error) {
                listeners.remove(name);
                answer = name + " failed";
            }
            answers.append("; ").append(answer);
        });
        return answers.toString();
    }
}
