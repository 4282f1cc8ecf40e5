package io.blockwharf.vhostuser;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.blockwharf.testing.RecordingLog;

import org.junit.jupiter.api.Test;

import java.util.List;

/** A front end does not decide how much is logged. */
class ComplaintsTest {
    private final RecordingLog log = new RecordingLog();
    private final List<String> warnings = log.warnings;
    private long now = Long.MAX_VALUE; // it may overflow
    private final Complaints complaints = new Complaints(log.logger, () -> now);

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
        assertEquals(List.of("991 more warnings like these were left out", "bad"), warnings);

        warnings.clear();
        now += 60_000_000_000L;
        warn(1);
        assertEquals(List.of("bad"), warnings, "nothing was left out");
    }
}
