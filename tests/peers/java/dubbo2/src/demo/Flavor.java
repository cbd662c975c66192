package demo;

import java.util.Map;
import org.apache.dubbo.config.ProtocolConfig;

/** What differs between Dubbo 2.7 and 3.3: this is 2.7. */
final class Flavor {
    private Flavor() {}

    static void serve(ProtocolConfig protocol) {}

    static void forget() {
        Answers.LAST.remove();
    }

    static Map<String, String> answerAttachments() {
        return Answers.LAST.get();
    }
}
