package demo;

import java.util.List;
import java.util.Map;

/** What the tests call. Every provider answers with its own tag, so that a route can be seen. */
public interface DemoService {
    /** {@code Hello <name> from <tag>}. */
    String sayHello(String name);

    /** The provider's tag. */
    String tag();

    int add(int left, int right);

    User echoUser(User user);

    Map<String, Object> echoMap(Map<String, Object> map);

    List<Object> echoList(List<Object> list);

    String echoString(String text);

    byte[] echoBytes(byte[] bytes);

    /** A string of {@code size} characters. */
    String blob(int size);

    /** Always null. */
    String nothing();

    void noResult(String ignored);

    String declared(String message) throws DemoException;

    String undeclared(String message);

    /** Answers with the provider's tag, but only after {@code millis}. */
    String slow(int millis);

    /** Remembers the text: called one-way. */
    void tell(String text);

    /** Everything told since the provider started. */
    List<String> told();

    /** The request's attachment of that name, as the provider sees it. */
    String attachment(String name);

    /** How many calls the provider has served. */
    int calls();
}
