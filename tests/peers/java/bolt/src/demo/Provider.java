package demo;

import com.alipay.remoting.BizContext;
import com.alipay.remoting.rpc.RpcServer;
import com.alipay.remoting.rpc.protocol.SyncUserProcessor;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;

/** {@code Provider <host> <port> <tag>}: prints READY when it listens. */
public final class Provider {
    private Provider() {}

    public static void main(String[] args) throws Exception {
        RpcServer server = new RpcServer(args[0], Integer.parseInt(args[1]));
        server.registerUserProcessor(new Answer<>(args[2], Words.class));
        server.registerUserProcessor(new Answer<>(args[2], MoreWords.class));
        server.startup();
        System.out.println("READY");
        new CountDownLatch(1).await();
    }

    private static final class Answer<T extends Words> extends SyncUserProcessor<T> {
        private final Executor pool = Executors.newCachedThreadPool();
        private final String tag;
        private final Class<T> type;

        Answer(String tag, Class<T> type) {
            this.tag = tag;
            this.type = type;
        }

        @Override
        public Object handleRequest(BizContext context, T request) throws Exception {
            Thread.sleep(request.delay);
            if (request.fail) {
                throw new IllegalStateException(request.text);
            }
            return request.text + " from " + tag;
        }

        @Override
        public String interest() {
            return type.getName();
        }

        @Override
        public Executor getExecutor() {
            return pool;
        }
    }
}
