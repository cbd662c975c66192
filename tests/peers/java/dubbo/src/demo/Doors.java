package demo;

import java.util.Map;

/** What the oracle's services do. Every call carries a tag, by which its record is found. */
public interface Doors {
    String greet(String tag);

    String secret(String tag);

    String take(Object value, String tag);

    String add(int number, String tag);

    String put(Map<String, Object> values, String tag);
}
