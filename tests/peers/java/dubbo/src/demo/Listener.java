package demo;

/** What a server calls at its client. */
public interface Listener {
    String hear(String text);
}
