package io.blockwharf.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.testing.RecordingLog;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** README, "Settings". */
class FuseSettingsTest {
    private static final FuseSettings USUAL =
            FuseSettings.of(Map.<String, Object>of()::get, new RecordingLog().logger);

    @Test
    void unaskedAFewThreadsServe() {
        assertTrue(USUAL.threads() >= 2 && USUAL.threads() <= 4);
    }

    @ParameterizedTest(name = "threads={0} passthrough={1} ring={2}")
    @CsvSource(
            nullValues = "-",
            textBlock =
                    """
                    3,        false,   false,  3, false, false, 0
                    ' 64 ',   true,    true,  64, true,  true,  0
                    -,        -,       -,     -1, true,  false, 0
                    0,        perhaps, on,    -1, true,  false, 3
                    65,       '',      TRUE,  -1, true,  false, 3
                    several,  false,   1,     -1, false, false, 2
                    99999999999, -,    -,     -1, true,  false, 1
                    """)
    void whatCannotBeUsedIsReportedAndAsIfItWereNotThere(
            String threads,
            String passthrough,
            String ring,
            int usedThreads,
            boolean usedPassthrough,
            boolean usedRing,
            int reports) {
        Map<String, Object> given = new HashMap<>();
        given.put("threads", threads);
        given.put("passthrough", passthrough);
        given.put("ring", ring);
        int expected = usedThreads < 0 ? USUAL.threads() : usedThreads;
        RecordingLog log = new RecordingLog();
        assertEquals(
                new FuseSettings(expected, usedPassthrough, usedRing),
                FuseSettings.of(given::get, log.logger));
        assertEquals(reports, log.warnings.size());
    }

    @Test
    void aReportNamesTheSetting() {
        RecordingLog log = new RecordingLog();
        FuseSettings.of(Map.<String, Object>of("ring", "on")::get, log.logger);
        assertEquals(
                List.of("io.blockwharf.fuse: cannot use ring=on, false is taken instead"),
                log.warnings);
    }
}
