package demo;

import java.io.Serializable;

/** A request: what to do, with what. The class name is what a proxy can route on. */
public class Words implements Serializable {
    private static final long serialVersionUID = 1L;

    public String text;
    public int delay;
    public boolean fail;
}
