package io.blockwharf.vhostuser;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.osgi.service.log.Logger;

import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A front end does not decide how much is logged. */
class ComplaintsTest {
    private final List<String> warnings = new ArrayList<>();
    private long now = Long.MAX_VALUE; // it may overflow
    private final Complaints complaints =
            new Complaints(
                    (Logger)
                            Proxy.newProxyInstance(
                                    Logger.class.getClassLoader(),
                                    new Class<?>[] {Logger.class},
                                    (_, method, arguments) -> {
                                        if (method.getName().equals("warn")) {
                                            warnings.add(Arrays.toString(arguments));
                                        }
                                        return null;
                                    }),
                    () -> now);

    private void warn(int times) {
        for (int i = 0; i < times; i++) {
            complaints.warn("bad");
        }
    }

    @Test
    void theFirstOfAMinuteAreLogged() {
        warn(1000);
        assertEquals(Complaints.MOST, warnings.size());
        now += 59_999_999_999L;
        warn(1);
        assertEquals(Complaints.MOST, warnings.size());

        warnings.clear();
        now += 1;
        warn(1);
        assertEquals(
                List.of("[{} more warnings like these were left out, 991]", "[bad]"), warnings);

        warnings.clear();
        now += 60_000_000_000L;
        warn(1);
        assertEquals(List.of("[bad]"), warnings, "nothing was left out");
    }
}
