package demo;

import java.util.Map;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.rpc.RpcContext;

/** What differs between Dubbo 2.7 and 3.3: this is 3.3. */
final class Flavor {
    private Flavor() {}

    static void serve(ProtocolConfig protocol) {
        protocol.setPreferSerialization("fastjson2,hessian2");
    }

    static void forget() {
        RpcContext.removeClientResponseContext();
    }

    static Map<String, String> answerAttachments() {
        return RpcContext.getClientResponseContext().getAttachments();
    }
}
