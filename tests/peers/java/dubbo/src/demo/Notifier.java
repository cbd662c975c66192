package demo;

/** Calls its callers back. */
public interface Notifier {
    /** Keeps a listener, which lives at the caller. */
    String subscribe(String name, Listener listener);

    /** Calls every listener, and returns the answers in the order of their names. */
    String tell(String text);
}
