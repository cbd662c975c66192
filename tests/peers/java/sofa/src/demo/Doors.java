package demo;

/** What the oracle's services do. Every call carries a tag, by which its record is found. */
public interface Doors {
    String greet(String tag);

    String secret(String tag);
}
