package io.blockwharf.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.HashMap;
import java.util.Map;

/** README, "Settings". */
class FuseSettingsTest {
    private static final FuseSettings USUAL = FuseSettings.of(Map.<String, Object>of()::get);

    @Test
    void unaskedAFewThreadsServe() {
        assertTrue(USUAL.threads() >= 2 && USUAL.threads() <= 4);
    }

    @ParameterizedTest(name = "threads={0} passthrough={1} ring={2}")
    @CsvSource(
            nullValues = "-",
            textBlock =
                    """
                    3,        false,   false,  3, false, false
                    ' 64 ',   true,    true,  64, true,  true
                    -,        -,       -,     -1, true,  false
                    0,        perhaps, on,    -1, true,  false
                    65,       '',      TRUE,  -1, true,  false
                    several,  false,   1,     -1, false, false
                    99999999999, -,    -,     -1, true,  false
                    """)
    void whatCannotBeUsedIsAsIfItWereNotThere(
            String threads,
            String passthrough,
            String ring,
            int usedThreads,
            boolean usedPassthrough,
            boolean usedRing) {
        Map<String, Object> given = new HashMap<>();
        given.put("threads", threads);
        given.put("passthrough", passthrough);
        given.put("ring", ring);
        int expected = usedThreads < 0 ? USUAL.threads() : usedThreads;
        assertEquals(
                new FuseSettings(expected, usedPassthrough, usedRing), FuseSettings.of(given::get));
    }
}
