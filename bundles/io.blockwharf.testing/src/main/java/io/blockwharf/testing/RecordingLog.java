package io.blockwharf.testing;

import org.osgi.service.log.Logger;

import java.lang.reflect.Proxy;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.regex.Matcher;
import java.util.stream.Stream;

/** A log that remembers its warnings. Thread-safe. */
public final class RecordingLog {
    /** What was warned about, oldest first; each as it is printed, without its exception. */
    public final List<String> warnings = new CopyOnWriteArrayList<>();

    /** What writes to it. */
    public final Logger logger =
            (Logger)
                    Proxy.newProxyInstance(
                            Logger.class.getClassLoader(),
                            new Class<?>[] {Logger.class},
                            (_, method, arguments) -> {
                                if (method.getName().equals("warn")) {
                                    warnings.add(message(arguments));
                                }
                                return method.getReturnType() == boolean.class ? true : null;
                            });

    private static String message(Object[] arguments) {
        String message = (String) arguments[0];
        for (Object each :
                Arrays.stream(arguments).skip(1).flatMap(RecordingLog::spread).toList()) {
            message = message.replaceFirst("\\{}", Matcher.quoteReplacement(String.valueOf(each)));
        }
        return message;
    }

    /** A method for any number of arguments has them in an array. */
    private static Stream<Object> spread(Object argument) {
        return argument instanceof Object[] several ? Arrays.stream(several) : Stream.of(argument);
    }
}
