package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.export.Authorizer;
import io.blockwharf.linux.Credentials;
import io.blockwharf.testing.FakeObjects;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.EOFException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/** Who may list, read and write an export. The client is this process, over a local socket. */
@Timeout(120)
class AccessTest {
    private static final byte[] NOTHING = {};
    private static final int POLICY = 0x80000002;
    private static final int UNKNOWN = 0x80000006;
    private static final int ACK = 1;

    @TempDir Path directory;
    private TestServer server;
    private final FakeObjects objects = new FakeObjects();

    @BeforeEach
    void start() throws Exception {
        server = new TestServer(directory);
    }

    @AfterEach
    void stop() {
        server.close();
    }

    private static Predicate<Optional<String>> only(boolean allowed) {
        return _ -> allowed;
    }

    private void export(boolean list, boolean read, boolean write) {
        server.export(
                "disk",
                "",
                new FakeNode(1 << 20),
                true,
                new Access(only(list), only(read), only(write)),
                false);
    }

    private Client greeted() throws IOException {
        return new Client(server.socket).greet(3);
    }

    /** Options LIST, INFO, GO and SET_META_CONTEXT: who may not see it does not learn of it. */
    @ParameterizedTest
    @CsvSource({
        "true, true, 2, 1, 1, 1",
        "false, true, 1, 1, 1, 1",
        "true, false, 2, POLICY, POLICY, POLICY",
        "false, false, 1, UNKNOWN, UNKNOWN, UNKNOWN",
    })
    void whatAClientGetsToSee(
            boolean list, boolean read, int listed, String info, String go, String context)
            throws IOException {
        export(list, read, true);
        try (Client client = greeted()) {
            assertEquals(listed, client.ask(3, NOTHING).size());
            assertEquals(type(info), last(client.ask(6, Client.infoData("disk"))).type());
            client.ask(8, NOTHING);
            assertEquals(
                    type(context),
                    last(client.ask(10, Client.contextData("disk", "base:allocation"))).type());
            assertEquals(type(go), last(client.ask(7, Client.infoData("disk"))).type());
        }
    }

    private static int type(String name) {
        return switch (name) {
            case "POLICY" -> POLICY;
            case "UNKNOWN" -> UNKNOWN;
            default -> ACK;
        };
    }

    private static Client.OptionAnswer last(List<Client.OptionAnswer> answers) {
        return answers.getLast();
    }

    @Test
    void refusalsSayWhyToThoseWhoMayKnow() throws IOException {
        export(true, false, true);
        try (Client client = greeted()) {
            assertEquals(
                    "export 'disk' is not for this client",
                    last(client.ask(7, Client.infoData("disk"))).text());
        }
    }

    @Test
    void exportNameOfWhatIsNotForTheClientEndsTheConnection() throws IOException {
        export(true, false, true);
        try (Client client = greeted()) {
            client.option(1, "disk".getBytes(StandardCharsets.UTF_8));
            assertThrows(EOFException.class, () -> client.receive(1));
        }
    }

    @ParameterizedTest
    @CsvSource({"true, 0xd6d, 0", "false, 0x50f, 1"})
    void whoMayNotWriteIsServedReadOnly(boolean write, String flags, int error) throws IOException {
        export(true, true, write);
        try (Client client = greeted()) {
            List<Client.OptionAnswer> answers = client.ask(7, Client.infoData("disk"));
            assertEquals(
                    flags,
                    "0x"
                            + Integer.toHexString(
                                    answers.get(answers.size() - 2).buffer().getShort(10)));
            client.send(client.header(Client.WRITE, 0, 1, 0, 512, 512).put(new byte[512]));
            assertEquals(error, client.chunk().error());
        }
    }

    @Test
    void processesOnLocalSocketsAreKnownByUserAndGroup() throws IOException {
        List<Optional<String>> asked = new ArrayList<>();
        server.export(
                "disk",
                "",
                new FakeNode(1 << 20),
                true,
                new Access(asked::add, only(true), only(true)),
                false);
        try (Client client = greeted()) {
            client.ask(3, NOTHING);
        }
        Credentials self = Credentials.ofThisProcess();
        assertEquals(
                List.of(Optional.of("uid=%d,gid=%d".formatted(self.uid(), self.gid()))), asked);
    }

    /** The authorizer counts that is there when it is asked. */
    @Test
    void authorizersAreLookedUpWhenTheyAreAsked() {
        Gate gate = new Gate(objects, "a");
        assertFalse(gate.test(Optional.of("me")));
        objects.with("a", (Authorizer) "me"::equals);
        assertTrue(gate.test(Optional.of("me")));
        assertFalse(gate.test(Optional.of("you")));
        assertFalse(gate.test(Optional.empty()));
        objects.with("a", "no authorizer");
        assertFalse(gate.test(Optional.of("me")));
    }
}
