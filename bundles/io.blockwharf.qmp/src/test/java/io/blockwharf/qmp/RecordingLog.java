package io.blockwharf.qmp;

import org.osgi.service.log.Logger;

import java.lang.reflect.Proxy;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** A log that remembers its warnings' formats. */
public final class RecordingLog {
    /** What was warned about. */
    public final List<String> warnings = new CopyOnWriteArrayList<>();

    /** What writes to it. */
    public final Logger logger =
            (Logger)
                    Proxy.newProxyInstance(
                            Logger.class.getClassLoader(),
                            new Class<?>[] {Logger.class},
                            (_, method, arguments) -> {
                                if (method.getName().equals("warn")) {
                                    warnings.add((String) arguments[0]);
                                }
                                return method.getReturnType() == boolean.class ? true : null;
                            });
}
