package demo;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.rpc.RpcContext;

/** {@code Provider <host> <port> <tag> [group:version ...]}: prints READY when it listens. */
public final class Provider implements DemoService {
    private final String tag;
    private final List<String> told = Collections.synchronizedList(new ArrayList<>());
    private final AtomicInteger calls = new AtomicInteger();

    private Provider(String tag) {
        this.tag = tag;
    }

    public static void main(String[] args) throws Exception {
        ApplicationConfig application = new ApplicationConfig("provider-" + args[2]);
        application.setQosEnable(false);
        ProtocolConfig protocol = new ProtocolConfig("dubbo", Integer.parseInt(args[1]));
        protocol.setHost(args[0]);
        protocol.setThreads(64);
        // The proxy under test is the one that limits sizes.
        protocol.setPayload(64 << 20);
        Flavor.serve(protocol);
        export(application, protocol, new Provider(args[2]), "", "");
        for (int at = 3; at < args.length; at++) {
            String[] parts = args[at].split(":", 2);
            Provider other = new Provider(args[2] + "/" + args[at]);
            export(application, protocol, other, parts[0], parts[1]);
        }
        System.out.println("READY");
        new CountDownLatch(1).await();
    }

    private static void export(
            ApplicationConfig application, ProtocolConfig protocol, Provider provider, String group, String version) {
        ServiceConfig<DemoService> service = new ServiceConfig<>();
        service.setApplication(application);
        service.setProtocol(protocol);
        service.setRegistry(new RegistryConfig("N/A"));
        service.setInterface(DemoService.class);
        service.setRef(provider);
        if (!group.isEmpty()) {
            service.setGroup(group);
        }
        if (!version.isEmpty()) {
            service.setVersion(version);
        }
        service.export();
    }

    private <T> T served(T value) {
        calls.incrementAndGet();
        RpcContext.getServerContext().setAttachment("served-by", tag);
        return value;
    }

    @Override
    public String sayHello(String name) {
        return served("Hello " + name + " from " + tag);
    }

    @Override
    public String tag() {
        return served(tag);
    }

    @Override
    public int add(int left, int right) {
        return served(left + right);
    }

    @Override
    public User echoUser(User user) {
        return served(user);
    }

    @Override
    public Map<String, Object> echoMap(Map<String, Object> map) {
        return served(map);
    }

    @Override
    public List<Object> echoList(List<Object> list) {
        return served(list);
    }

    @Override
    public String echoString(String text) {
        return served(text);
    }

    @Override
    public byte[] echoBytes(byte[] bytes) {
        return served(bytes);
    }

    @Override
    public String blob(int size) {
        return served("x".repeat(size));
    }

    @Override
    public String nothing() {
        return served(null);
    }

    @Override
    public void noResult(String ignored) {
        served(null);
    }

    @Override
    public String declared(String message) throws DemoException {
        served(null);
        throw new DemoException(message, 42);
    }

    @Override
    public String undeclared(String message) {
        served(null);
        throw new IllegalStateException(message);
    }

    @Override
    public String slow(int millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return served(tag);
    }

    @Override
    public void tell(String text) {
        told.add(text);
        served(null);
    }

    @Override
    public List<String> told() {
        return served(new ArrayList<>(told));
    }

    @Override
    public String attachment(String name) {
        return served(RpcContext.getContext().getAttachment(name));
    }

    @Override
    public int calls() {
        return served(calls.get());
    }
}
