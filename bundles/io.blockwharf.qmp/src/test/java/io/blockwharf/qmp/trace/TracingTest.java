package io.blockwharf.qmp.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.qmp.trace.TraceEventGetState.State;
import io.blockwharf.testing.RecordingLog;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** Patterns, files and states; texts are QEMU's. */
class TracingTest {
    @TempDir Path directory;

    private final Tracing tracing = new Tracing(new RecordingLog().logger);
    private final TraceOption option = new TraceOption(tracing);

    @AfterEach
    void close() {
        tracing.close();
    }

    private List<String> trace(String enable) {
        return option.execute(
                new TraceOption.Arguments(Optional.of(enable), Optional.empty(), Optional.empty()));
    }

    private static String on() {
        return Arrays.stream(TraceEvent.values())
                .filter(TraceEvent::isOn)
                .map(TraceEvent::id)
                .collect(Collectors.joining(" "));
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    nbd_option           | nbd_option
                    nbd_*                | nbd_client_connected nbd_option nbd_client_attached nbd_client_left
                    *_left               | qmp_client_left nbd_client_left
                    qmp_even?            |
                    nbd.option           |
                    *;-nbd*;-qmp*;-*d;-chardev_reconnect;nbd_option | nbd_option
                    """)
    void patterns(String patterns, String expected) {
        for (String pattern : patterns.split(";")) {
            trace(pattern);
        }
        // Like QEMU, a question mark alone makes no pattern, but it matches
        String wanted = patterns.equals("qmp_even?") ? "qmp_event" : expected;
        assertEquals(wanted == null ? "" : wanted, on());
    }

    @Test
    void namesThatDoNotExistAreWarnedOf() {
        assertEquals(List.of("trace event 'nope' does not exist"), trace("nope"));
        assertEquals(List.of("trace event 'nope' does not exist"), trace("-nope"));
        assertEquals(List.of(), trace("nope*"));
    }

    @Test
    void eventsOfAFileGoToAFile() throws IOException {
        Path events =
                Files.writeString(
                        directory.resolve("e"), "# nbd\nnbd_client_left\n\nblock_*\n-*removed\n");
        Path file = directory.resolve("f");
        option.execute(
                new TraceOption.Arguments(
                        Optional.empty(),
                        Optional.of(events.toString()),
                        Optional.of(file.toString())));
        TraceEvent.NBD_CLIENT_LEFT.record(3);
        TraceEvent.NBD_CLIENT_CONNECTED.record(4);
        TraceEvent.BLOCK_EXPORT_ADDED.record("e", "nbd", "n");
        TraceEvent.BLOCK_EXPORT_REMOVED.record("e");
        assertEquals(
                "nbd_client_left client 3\nblock_export_added export e type nbd node n\n",
                Files.readString(file));
    }

    @Test
    void whatCannotBeOpenedIsAnError() {
        Optional<String> nowhere = Optional.of(directory.resolve("no/x").toString());
        Optional<String> none = Optional.empty();
        assertEquals(
                nowhere.get() + ": No such file or directory",
                assertThrows(
                                QmpException.class,
                                () ->
                                        option.execute(
                                                new TraceOption.Arguments(none, nowhere, none)))
                        .getMessage());
        assertEquals(
                "Error opening logfile " + nowhere.get() + ": No such file or directory",
                assertThrows(
                                QmpException.class,
                                () ->
                                        option.execute(
                                                new TraceOption.Arguments(none, none, nowhere)))
                        .getMessage());
    }

    @Test
    void statesAreToldAndSet() {
        TraceEventGetState get = new TraceEventGetState();
        assertEquals(
                List.of(new TraceEventGetState.Info("nbd_option", State.DISABLED)),
                get.execute(new TraceEventGetState.Arguments("nbd_option")));
        new TraceEventSetState()
                .execute(new TraceEventSetState.Arguments("nbd_o*", true, Optional.of(true)));
        assertTrue(TraceEvent.NBD_OPTION.isOn());
        assertFalse(TraceEvent.NBD_CLIENT_LEFT.isOn());
        assertEquals(
                List.of(new TraceEventGetState.Info("nbd_option", State.ENABLED)),
                get.execute(new TraceEventGetState.Arguments("nbd_o*")));
        assertEquals(List.of(), get.execute(new TraceEventGetState.Arguments("nope*")));
        assertEquals(
                "unknown event \"nope\"",
                assertThrows(
                                QmpException.class,
                                () -> get.execute(new TraceEventGetState.Arguments("nope")))
                        .getMessage());
    }
}
