package io.blockwharf.qmp;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.qmp.QmpEvent;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.NamedDescriptors;
import io.blockwharf.qmp.wire.JsonText;
import io.blockwharf.testing.RecordingLog;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

/** qmp-spec, from a client's side. */
@Timeout(120)
class SessionTest {
    private static final String NEGOTIATE = "{\"execute\":\"qmp_capabilities\"}";

    private final FakeDispatcher dispatcher = new FakeDispatcher();
    private final FakePeer peer = new FakePeer();
    private final RecordingLog log = new RecordingLog();
    private Session session;
    private Thread thread;

    @BeforeEach
    void connect() {
        start(JsonText.LINE);
        assertEquals(
                "{\"QMP\": {\"version\": {\"package\": \"fake\"}, \"capabilities\": [\"oob\"]}}",
                peer.line());
    }

    private void start(JsonText style) {
        session = new Session(dispatcher, peer, "test", style, new NamedDescriptors(), log.logger);
        thread =
                Thread.ofPlatform()
                        .start(
                                () -> {
                                    try {
                                        session.run();
                                    } catch (InterruptedException e) {
                                        Thread.currentThread().interrupt();
                                    }
                                });
    }

    @AfterEach
    void disconnect() throws InterruptedException {
        peer.hangUp();
        thread.join();
    }

    private void negotiate() {
        peer.say(NEGOTIATE);
        assertEquals("{\"return\": {}}", peer.line());
    }

    /** After the negotiation; texts are qemu-storage-daemon's. */
    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    {"execute":"query-version"}       | {"return": {"package": "fake"}}
                    {"execute":"query-version","id":7}| {"return": {"package": "fake"}, "id": 7}
                    {"execute":"x","id":null}         | {"id": null, "error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}
                    {"execute":"qmp_capabilities"}    | {"error": {"class": "CommandNotFound", "desc": "Capabilities negotiation is already complete, command ignored"}}
                    {"execute":"query-version","bad":1}| {"error": {"class": "GenericError", "desc": "QMP input member 'bad' is unexpected"}}
                    {"exec-oob":"x","id":3}           | {"id": 3, "error": {"class": "GenericError", "desc": "QMP input member 'exec-oob' is unexpected"}}
                    {"execute":3}                     | {"error": {"class": "GenericError", "desc": "QMP input member 'execute' must be a string"}}
                    {"execute":"x","arguments":3}     | {"error": {"class": "GenericError", "desc": "QMP input member 'arguments' must be an object"}}
                    {"arguments":{}}                  | {"error": {"class": "GenericError", "desc": "QMP input lacks member 'execute'"}}
                    []                                | {"error": {"class": "GenericError", "desc": "QMP input must be a JSON object"}}
                    """)
    void answers(String request, String answer) {
        negotiate();
        peer.say(request);
        assertEquals(answer, peer.line());
    }

    @ParameterizedTest(name = "[{index}] {0}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    {"execute":"query-version"} | CommandNotFound | Expecting capabilities negotiation with 'qmp_capabilities'
                    {"execute":"nope"}          | CommandNotFound | Expecting capabilities negotiation with 'qmp_capabilities'
                    {"a":1}                     | GenericError    | QMP input member 'a' is unexpected
                    """)
    void beforeTheNegotiation(String request, String errorClass, String description) {
        peer.say(request);
        assertEquals(
                "{\"error\": {\"class\": \"%s\", \"desc\": \"%s\"}}"
                        .formatted(errorClass, description),
                peer.line());
    }

    @Test
    void afterAnErrorInTheJsonTheSessionGoesOn() {
        negotiate();
        peer.say("{\"execute\": nul}\n{\"execute\":\"query-version\"}");
        String error = peer.line();
        assertTrue(
                error.startsWith(
                        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"JSON parse error, "),
                error);
        assertEquals("{\"return\": {\"package\": \"fake\"}}", peer.line());
    }

    @Test
    void outOfBandRequestsDoNotWaitForTheCommandBefore() {
        CountDownLatch mayEnd = new CountDownLatch(1);
        dispatcher.command(
                "slow",
                _ -> {
                    await(mayEnd);
                    return Map.of();
                });
        peer.say("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}");
        assertEquals("{\"return\": {}}", peer.line());
        peer.say("{\"execute\":\"slow\",\"id\":1}{\"exec-oob\":\"query-version\",\"id\":2}");
        assertEquals(
                "{\"id\": 2, \"error\": {\"class\": \"GenericError\", \"desc\": \"The command"
                        + " query-version does not support OOB\"}}",
                peer.line());
        mayEnd.countDown();
        assertEquals("{\"return\": {}, \"id\": 1}", peer.line());
    }

    @Test
    void eventsAreSentAtOnceButNotBeforeTheNegotiation() {
        QmpEvent event = new QmpEvent("E", Instant.ofEpochSecond(5, 6_007_000), Map.of("id", "x"));
        session.event(event);
        negotiate();
        session.event(event);
        assertEquals(
                "{\"timestamp\": {\"seconds\": 5, \"microseconds\": 6007}, \"event\": \"E\","
                        + " \"data\": {\"id\": \"x\"}}",
                peer.line());
    }

    @Test
    void eventsOfACommandPrecedeItsAnswer() {
        dispatcher.command(
                "emit",
                _ -> {
                    session.event(new QmpEvent("E", Instant.EPOCH, Map.of()));
                    return Map.of();
                });
        negotiate();
        peer.say("{\"execute\":\"emit\"}");
        assertTrue(peer.line().contains("\"event\": \"E\""));
        assertEquals("{\"return\": {}}", peer.line());
    }

    @Test
    void whatWasAskedIsAnsweredAfterTheClientsLastWord() throws InterruptedException {
        CountDownLatch mayEnd = new CountDownLatch(1);
        dispatcher.command(
                "slow",
                _ -> {
                    await(mayEnd);
                    return "done";
                });
        negotiate();
        peer.say("{\"execute\":\"slow\"}{\"execute\":\"query-version\"}");
        peer.hangUp();
        mayEnd.countDown();
        assertEquals("{\"return\": \"done\"}", peer.line());
        assertEquals("{\"return\": {\"package\": \"fake\"}}", peer.line());
        thread.join();
    }

    @Test
    void aClientThatDoesNotReadLosesEventsAndBlocksNobody() {
        negotiate();
        peer.stopReading();
        QmpEvent event = new QmpEvent("E", Instant.EPOCH, Map.of("x", "y".repeat(1000)));
        List<String> sent = new ArrayList<>();
        for (int bytes = 0; bytes < 2 * Outbox.LIMIT; bytes += 1000) {
            session.event(event);
            sent.add(event.name());
        }
        assertEquals(1, log.warnings.size());
        peer.goOnReading();
        int received = 0;
        peer.say("{\"execute\":\"query-version\"}");
        while (!peer.line().contains("return")) {
            received++;
        }
        assertTrue(received > 0 && received < sent.size(), "received " + received);
    }

    @Test
    void endingTheSessionLetsTheCommandFinish() throws InterruptedException {
        dispatcher.command(
                "end",
                _ -> {
                    Thread.ofPlatform().start(session::end);
                    return "answered";
                });
        negotiate();
        peer.say("{\"execute\":\"end\"}");
        assertEquals("{\"return\": \"answered\"}", peer.line());
        thread.join();
    }

    @Test
    void aCommandsErrorKeepsItsClass() {
        dispatcher.command(
                "fail",
                _ -> {
                    throw new QmpException(QmpException.ErrorClass.DEVICE_NOT_FOUND, "no \"x\"\n");
                });
        negotiate();
        peer.say("{\"execute\":\"fail\"}");
        assertEquals(
                "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"no \\\"x\\\"\\n\"}}",
                peer.line());
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
