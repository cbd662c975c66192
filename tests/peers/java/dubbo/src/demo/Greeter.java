package demo;

/** One of the oracle's services. */
public interface Greeter extends Doors {}
