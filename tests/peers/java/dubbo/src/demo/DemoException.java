package demo;

/** An exception that the interface declares, with a field of its own. */
public class DemoException extends Exception {
    private int code;

    public DemoException() {}

    public DemoException(String message, int code) {
        super(message);
        this.code = code;
    }

    public int getCode() {
        return code;
    }
}
