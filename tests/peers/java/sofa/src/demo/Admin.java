package demo;

/** One of the oracle's services. */
public interface Admin extends Doors {}
