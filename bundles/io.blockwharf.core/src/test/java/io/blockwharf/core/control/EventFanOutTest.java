package io.blockwharf.core.control;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.qmp.QmpEvent;
import io.blockwharf.api.qmp.QmpEventName;

import org.junit.jupiter.api.Test;

import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

class EventFanOutTest {
    private static final Instant NOW = Instant.parse("2026-01-02T03:04:05.000006Z");

    private final List<String> log = new ArrayList<>();
    private final EventFanOut events =
            new EventFanOut(Fakes.logger(log), Clock.fixed(NOW, ZoneOffset.UTC));

    @QmpEventName("BLOCK_EXPORT_DELETED")
    private record Deleted(String id, Optional<String> nodeName) {}

    private record NoEvent() {}

    @Test
    void everyListenerHasTheEventEvenIfOneFails() {
        List<QmpEvent> seen = new ArrayList<>();
        events.addListener(
                _ -> {
                    throw new IllegalStateException("broken");
                });
        events.addListener(seen::add);

        events.emit(new Deleted("x", Optional.empty()));

        assertEquals(List.of(new QmpEvent("BLOCK_EXPORT_DELETED", NOW, Map.of("id", "x"))), seen);
        assertEquals(1, log.size());
    }

    @Test
    void aRecordWithoutANameIsNoEvent() {
        assertThrows(IllegalArgumentException.class, () -> events.emit(new NoEvent()));
    }
}
