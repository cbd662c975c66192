package demo;

import java.util.HashMap;
import java.util.Map;
import org.apache.dubbo.common.constants.CommonConstants;
import org.apache.dubbo.common.extension.Activate;
import org.apache.dubbo.rpc.Filter;
import org.apache.dubbo.rpc.Invocation;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.Result;

/** Keeps an answer's attachments: Dubbo 2.7 shows them to callers of a registry only. */
@Activate(group = CommonConstants.CONSUMER)
public final class Answers implements Filter {
    static final ThreadLocal<Map<String, String>> LAST = new ThreadLocal<>();

    @Override
    public Result invoke(Invoker<?> invoker, Invocation invocation) {
        Result result = invoker.invoke(invocation);
        LAST.set(new HashMap<>(result.getAttachments()));
        return result;
    }
}
