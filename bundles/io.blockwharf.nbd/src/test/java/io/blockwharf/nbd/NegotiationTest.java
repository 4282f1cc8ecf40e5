package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockLimits;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** proto.md, "Handshake" and "Option types". */
@Timeout(120)
class NegotiationTest {
    private static final byte[] NOTHING = {};

    @TempDir Path directory;
    private TestServer server;
    private FakeNode node;

    @BeforeEach
    void start() throws Exception {
        server = new TestServer(directory);
        node = new FakeNode(1 << 20);
        server.export("disk", "a disk", node, true, false);
        server.export("ro", "", node, false, false);
    }

    @AfterEach
    void stop() {
        server.close();
    }

    private Client greeted() throws IOException {
        return new Client(server.socket).greet(3);
    }

    @Test
    void greetingOffersFixedNewstyleWithoutZeroes() throws IOException {
        try (Client client = new Client(server.socket)) {
            ByteBuffer greeting = client.receive(18);
            assertEquals(0x4e42444d41474943L, greeting.getLong());
            assertEquals(0x49484156454F5054L, greeting.getLong());
            assertEquals(3, greeting.getShort());
        }
    }

    /** "the server MUST close the TCP connection if it does not recognize the client's flags". */
    @ParameterizedTest
    @ValueSource(ints = {4, 7, 0x80000000, -1})
    void unknownClientFlagsEndTheConnection(int flags) throws IOException {
        try (Client client = new Client(server.socket).greet(flags)) {
            assertTrue(client.isClosed());
        }
    }

    /** NBD_OPT_EXPORT_NAME; 124 zeroes unless NBD_FLAG_C_NO_ZEROES. */
    @ParameterizedTest
    @CsvSource({"3, 10", "1, 134", "2, 10", "0, 134"})
    void exportNameEntersTransmission(int clientFlags, int bytes) throws IOException {
        node.fill(0, 512, 5);
        try (Client client = new Client(server.socket).greet(clientFlags)) {
            client.option(1, "disk".getBytes(StandardCharsets.UTF_8));
            ByteBuffer reply = client.receive(bytes);
            assertEquals(1 << 20, reply.getLong());
            assertEquals(0xd6d & ~0x80, reply.getShort());
            assertEquals(512, client.read(0, 512, 0).length);
        }
    }

    @Test
    void exportNameOfNothingEndsTheConnection() throws IOException {
        try (Client client = greeted()) {
            client.option(1, "none".getBytes(StandardCharsets.UTF_8));
            assertThrows(EOFException.class, () -> client.receive(1));
        }
    }

    /** qemu-behaviour 2.6: transmission flags per kind of export and style of replies. */
    @ParameterizedTest
    @CsvSource({
        "ro,   0,  0x50f, ''",
        "ro,   8,  0x58f, ''",
        "ro,   11, 0x58f, ''",
        "ro,   11, 0x158f, base:allocation",
        "disk, 0,  0xd6d, ''",
        "disk, 8,  0xded, ''",
        "disk, 11, 0x1ded, base:allocation",
    })
    void transmissionFlags(String export, int style, String flags, String context)
            throws IOException {
        try (Client client = greeted()) {
            if (style != 0) {
                client.ask(style, NOTHING);
            }
            if (!context.isEmpty()) {
                client.ask(10, Client.contextData(export, context));
            }
            List<Client.OptionAnswer> answers = client.ask(7, Client.infoData(export));
            ByteBuffer info = answers.get(answers.size() - 2).buffer();
            assertEquals(0, info.getShort());
            assertEquals(1 << 20, info.getLong());
            assertEquals(flags, "0x" + Integer.toHexString(info.getShort()));
        }
    }

    @Test
    void singleConnectionServerDoesNotOfferMultiConn(@TempDir Path other) throws Exception {
        try (TestServer single = new TestServer(other, new NbdServer.Limits(1, 10))) {
            single.export("disk", node);
            try (Client client = new Client(single.socket).greet(3)) {
                List<Client.OptionAnswer> answers = client.ask(6, Client.infoData("disk"));
                ByteBuffer info = answers.get(answers.size() - 2).buffer();
                assertEquals(0, info.getShort(10) & 0x100);
            }
        }
    }

    /** NBD_OPT_INFO: NAME on request, DESCRIPTION if there is one, BLOCK_SIZE and EXPORT always. */
    @Test
    void infoTellsNameDescriptionSizesAndExport() throws IOException {
        try (Client client = greeted()) {
            List<Client.OptionAnswer> answers = client.ask(6, Client.infoData("disk", 1, 3));
            assertEquals(5, answers.size());
            assertEquals("\0\1disk", answers.get(0).text());
            assertEquals("\0\2a disk", answers.get(1).text());
            ByteBuffer sizes = answers.get(2).buffer();
            assertEquals(3, sizes.getShort());
            assertEquals(1, sizes.getInt());
            assertEquals(4096, sizes.getInt());
            assertEquals(32 << 20, sizes.getInt());
            assertEquals(0, answers.get(3).buffer().getShort());
            assertEquals(1, answers.get(4).type());
        }
    }

    /** "Size constraints": the minimum is told to whoever asks or only wants information. */
    @ParameterizedTest
    @CsvSource({
        "6, true, 512, 1",
        "7, true, 512, 1",
        "7, false, 1, 1",
        "6, false, 512, 0x80000008"
    })
    void minimumBlockSize(int option, boolean asked, int minimum, String last) throws IOException {
        FakeNode aligned = new FakeNode(1 << 20, new BlockLimits(512, 512, 0, 1 << 20, 512));
        server.export("aligned", aligned);
        try (Client client = greeted()) {
            byte[] data = asked ? Client.infoData("aligned", 3) : Client.infoData("aligned");
            List<Client.OptionAnswer> answers = client.ask(option, data);
            ByteBuffer sizes = answers.getFirst().buffer();
            assertEquals(3, sizes.getShort());
            assertEquals(minimum, sizes.getInt());
            assertEquals(4096, sizes.getInt());
            assertEquals(1 << 20, sizes.getInt());
            assertEquals(Long.decode(last).intValue(), answers.getLast().type());
        }
    }

    @Test
    void listTellsNamesAndDescriptions() throws IOException {
        try (Client client = greeted()) {
            List<Client.OptionAnswer> answers = client.ask(3, NOTHING);
            assertEquals("\0\0\0\4diska disk", answers.get(0).text());
            assertEquals("\0\0\0\2ro", answers.get(1).text());
            assertEquals(3, answers.size());
        }
    }

    @Test
    void abortIsAcknowledged() throws IOException {
        try (Client client = greeted()) {
            assertEquals(1, client.ask(2, new byte[] {1, 2, 3}).getLast().type());
            assertTrue(client.isClosed());
        }
    }

    /** Options that fail, and the next one is heard: "the server will reply to any option". */
    @ParameterizedTest(name = "option {0} with {1} bytes -> {3}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    4      | 0       | 0x80000001 | Unsupported option 4 (peek export)
                    99     | 0       | 0x80000001 | Unsupported option 99 (<unknown>)
                    -1     | 5       | 0x80000001 | Unsupported option 4294967295 (<unknown>)
                    99     | 1000000 | 0x80000001 | Unsupported option 99 (<unknown>)
                    5      | 0       | 0x80000002 | TLS not configured
                    3      | 1       | 0x80000003 | option 'list' has unexpected length
                    5      | 1       | 0x80000003 | option 'starttls' has unexpected length
                    8      | 1       | 0x80000003 | option 'structured reply' has unexpected length
                    11     | 4       | 0x80000003 | option 'extended headers' has unexpected length
                    6      | 0       | 0x80000003 | option 'info' has unexpected length
                    6      | 3       | 0x80000003 | option 'info' has unexpected length
                    7      | 5       | 0x80000003 | option 'go' has unexpected length
                    6      | 7       | 0x80000003 | option 'info' has unexpected length
                    10     | 3       | 0x80000003 | option 'set meta context' has unexpected length
                    9      | 9       | 0x80000003 | option 'list meta context' has unexpected length
                    10     | 100000  | 0x80000009 | option 'set meta context' is too long
                    7      | 65537   | 0x80000009 | option 'go' is too long
                    """)
    void refusedOptions(int option, int bytes, String type, String text) throws IOException {
        try (Client client = greeted()) {
            Client.OptionAnswer answer = client.ask(option, new byte[bytes]).getLast();
            assertEquals(Long.decode(type).intValue(), answer.type());
            assertEquals(text, answer.text());
            assertEquals(1, client.ask(3, NOTHING).getLast().type());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {6, 7, 9, 10})
    void unknownExports(int option) throws IOException {
        String name = "x".repeat(100);
        try (Client client = greeted()) {
            client.ask(8, NOTHING);
            byte[] data =
                    option < 8
                            ? Client.infoData(name)
                            : Client.contextData(name, "base:allocation");
            Client.OptionAnswer answer = client.ask(option, data).getLast();
            assertEquals(0x80000006, answer.type());
            assertEquals("export '" + "x".repeat(80) + "...' not present", answer.text());
        }
    }

    @Test
    void structuredRepliesAndExtendedHeadersOnceEach() throws IOException {
        try (Client client = greeted()) {
            assertEquals(1, client.ask(8, NOTHING).getLast().type());
            assertEquals(
                    "structured reply already negotiated", client.ask(8, NOTHING).getLast().text());
            assertEquals(1, client.ask(11, NOTHING).getLast().type());
            assertEquals(
                    "extended headers already negotiated",
                    client.ask(11, NOTHING).getLast().text());
            assertEquals(0x8000000a, client.ask(8, NOTHING).getLast().type());
        }
    }

    /** "Metadata querying": which queries find what. */
    @ParameterizedTest(name = "{0} {1} -> {2}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    9  |                                       | 0 base:allocation 0 qemu:allocation-depth
                    9  | base:                                 | 0 base:allocation
                    9  | qemu:                                 | 0 qemu:allocation-depth
                    9  | qemu:allocation-depth base:allocation | 0 base:allocation 0 qemu:allocation-depth
                    9  | qemu:dirty-bitmap:                    |
                    9  | base                                  |
                    9  | base:other x-y:z                      |
                    10 |                                       |
                    10 | base:                                 |
                    10 | base:allocation                       | 0 base:allocation
                    10 | qemu:allocation-depth                 | 1 qemu:allocation-depth
                    10 | base:allocation base:allocation       | 0 base:allocation
                    """)
    void metaContexts(int option, String queries, String found) throws IOException {
        try (Client client = greeted()) {
            client.ask(8, NOTHING);
            String[] each = queries == null ? new String[0] : queries.split(" ");
            StringBuilder contexts = new StringBuilder();
            for (Client.OptionAnswer answer :
                    client.ask(option, Client.contextData("disk", each))) {
                if (answer.type() == 4) {
                    String text = answer.text();
                    contexts.append((int) text.charAt(3)).append(' ');
                    contexts.append(text.substring(4)).append(' ');
                }
            }
            assertEquals(found == null ? "" : found, contexts.toString().trim());
        }
    }

    @Test
    void metaContextsNeedStructuredReplies() throws IOException {
        try (Client client = greeted()) {
            assertEquals(
                    "request option 'set meta context' when structured reply is not negotiated",
                    client.ask(10, Client.contextData("disk")).getLast().text());
        }
    }

    /** Anything that is not an option, or that is meant to use up memory. */
    @ParameterizedTest
    @CsvSource({
        "0x1122334455667788, 3, 0",
        "0x49484156454F5054, 99, 33554433",
        "0x49484156454F5054, 7, -1",
        "0x49484156454F5054, 1, 5000",
        "0x49484156454F5054, 1, 70000",
    })
    void hostileOptionsEndTheConnection(String magic, int option, int length) throws IOException {
        try (Client client = greeted()) {
            client.send(
                    ByteBuffer.allocate(16)
                            .putLong(Long.decode(magic))
                            .putInt(option)
                            .putInt(length));
            if (option == 1) {
                client.send(ByteBuffer.wrap(new byte[length]).position(length));
            }
            assertTrue(client.isClosed());
        }
    }

    @Test
    void onlyExportNameWithoutFixedNewstyle() throws IOException {
        try (Client client = new Client(server.socket).greet(0)) {
            client.option(3, NOTHING);
            assertTrue(client.isClosed());
        }
    }

    @Test
    void bytesBehindGoAreTheFirstRequest() throws IOException {
        node.fill(4096, 4096, 9);
        try (Client client = greeted()) {
            byte[] go = Client.infoData("disk");
            ByteBuffer both = ByteBuffer.allocate(16 + go.length + 28);
            both.putLong(0x49484156454F5054L).putInt(7).putInt(go.length).put(go);
            both.putInt(0x25609513).putInt(0).putLong(1).putLong(4096).putInt(4096);
            client.send(both);
            Client.OptionAnswer answer;
            do {
                answer = client.optionAnswer(7);
            } while (answer.type() != 1);
            assertEquals(0, client.chunk().error());
            byte[] data = client.receive(4096).array();
            assertArrayEquals(
                    node.memory
                            .asSlice(4096, 4096)
                            .toArray(java.lang.foreign.ValueLayout.JAVA_BYTE),
                    data);
        }
    }

    @Test
    void clientThatDoesNotFinishInTimeIsSentAway(@TempDir Path other) throws Exception {
        try (TestServer strict = new TestServer(other, new NbdServer.Limits(0, 1));
                Client client = new Client(strict.socket).greet(3)) {
            assertTrue(client.isClosed());
        }
    }

    @Test
    void atTheLimitClientsWait(@TempDir Path other) throws Exception {
        try (TestServer single = new TestServer(other, new NbdServer.Limits(1, 0))) {
            single.export("disk", node);
            Client first = Client.ready(single.socket, "disk", 0);
            try (Client second = new Client(single.socket)) {
                assertEquals(0, first.read(0, 1, 0)[0]);
                assertEquals(1, single.server.clients().size());
                first.close();
                second.greet(3);
                assertEquals(1, second.ask(3, NOTHING).getLast().type());
            }
        }
    }

    /** query-nbd-clients and nbd-client-disconnect. */
    @Test
    void clientsAreKnownAndCanBeSentAway() throws Exception {
        try (Client user = Client.ready(server.socket, "disk", 8);
                Client talking = greeted()) {
            user.write(0, 1, 4096, new byte[512]);
            assertEquals(0, user.result());
            user.read(0, 1024, 0);
            user.request(Client.READ, 0, 1, 1 << 20, 1);
            assertEquals(22, user.result());
            assertEquals(1, talking.ask(3, NOTHING).getLast().type());
            List<NbdClientInfo> clients =
                    server.server.clients().stream().map(NbdSession::describe).toList();
            NbdClientInfo first = clients.get(0);
            assertEquals(Optional.of("disk"), first.export());
            assertEquals(Optional.of(ProcessHandle.current().pid()), first.pid());
            assertEquals(
                    List.of(1L, 1024L, 1L, 512L, 0L, 1L, 0L),
                    List.of(
                            first.reads(),
                            first.bytesRead(),
                            first.writes(),
                            first.bytesWritten(),
                            first.others(),
                            first.errors(),
                            first.inFlight()));
            assertEquals(Optional.empty(), clients.get(1).export());
            assertTrue(clients.get(1).id() > first.id());
            server.server.clients().getFirst().disconnect();
            assertTrue(user.isClosed());
            assertEquals(1, talking.ask(3, NOTHING).getLast().type());
        }
    }

    @Test
    void removedExportIsNotFoundAndItsNameIsFree() throws Exception {
        NbdExport export = server.export("gone", node);
        try (Client user = Client.ready(server.socket, "gone", 8);
                Client late = greeted()) {
            assertTrue(export.inUse());
            export.requestShutdown();
            assertEquals(0x80000006, late.ask(7, Client.infoData("gone")).getLast().type());
            assertTrue(user.isClosed());
            TestServer.awaitClosed(export);
            server.export("gone", node);
            assertEquals(1, late.ask(6, Client.infoData("gone")).getLast().type());
        }
    }
}
