package demo;

/** The same under another class name. */
public class MoreWords extends Words {
    private static final long serialVersionUID = 1L;
}
