package io.blockwharf.nbd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.nbd.ScriptedLink;
import io.blockwharf.nbd.wire.OptionReply.Reason;
import io.blockwharf.nbd.wire.OptionRequest;
import io.blockwharf.nbd.wire.ReplyStyle;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;

/** proto.md, "Fixed newstyle negotiation", "Size constraints", as the client sees them. */
class NegotiationTest {
    private static final int MIB = 1 << 20;
    private static final int FLAGS = 0x6d;

    private static final Negotiation.Wish WISH =
            new Negotiation.Wish("disk", "base:allocation", false, Optional.empty());

    private static Terms negotiate(ServerBytes server, Negotiation.Wish wish) throws IOException {
        return negotiate(new ScriptedLink(server.bytes(), 0, 1000), wish);
    }

    private static Terms negotiate(ScriptedLink link, Negotiation.Wish wish) throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            return new Negotiation(link, wish, arena).run().terms();
        }
    }

    private static ServerBytes structured() {
        return new ServerBytes().structured();
    }

    private static ServerBytes finish(ServerBytes server) {
        return server.reply(ServerBytes.GO, ServerBytes.ACK);
    }

    @Test
    void allThatAServerHasIsUsed() throws IOException {
        ScriptedLink link =
                new ScriptedLink(
                        finish(
                                        new ServerBytes()
                                                .greeting()
                                                .reply(ServerBytes.EXTENDED, ServerBytes.ACK)
                                                .context(7, "base:allocation")
                                                .reply(ServerBytes.SET_CONTEXT, ServerBytes.ACK)
                                                .sizes(4096, 65536, 1 << 30)
                                                .export(MIB, FLAGS))
                                .bytes(),
                        0,
                        1);
        Terms terms = negotiate(link, WISH);
        assertEquals(
                new Terms(
                        ReplyStyle.EXTENDED, MIB, FLAGS, 4096, 65536, 32 * MIB, OptionalInt.of(7)),
                terms);
        assertEquals(List.of(11, 10, 7), optionsIn(link.sent()));
    }

    /** The numbers of the options that were sent. */
    private static List<Integer> optionsIn(byte[] sent) {
        ByteBuffer in = ByteBuffer.wrap(sent);
        assertEquals(3, in.getInt(), "client flags");
        List<Integer> options = new ArrayList<>();
        while (in.hasRemaining()) {
            assertEquals(0x49484156454F5054L, in.getLong());
            int option = in.getInt();
            byte[] data = new byte[in.getInt()];
            in.get(data);
            assertTrue(
                    !(OptionRequest.decode(option, data) instanceof OptionRequest.Malformed),
                    "the other direction understands it");
            options.add(option);
        }
        return options;
    }

    @Test
    void aServerWithoutStructuredRepliesIsNotAskedForContexts() throws IOException {
        ScriptedLink link =
                new ScriptedLink(
                        finish(
                                        new ServerBytes()
                                                .greeting()
                                                .reply(ServerBytes.EXTENDED, ServerBytes.UNSUP)
                                                .reply(ServerBytes.STRUCTURED, 0x80000002)
                                                .export(MIB, FLAGS))
                                .bytes(),
                        0,
                        1000);
        Terms terms = negotiate(link, WISH);
        assertEquals(
                new Terms(ReplyStyle.SIMPLE, MIB, FLAGS, 512, 0, 32 * MIB, OptionalInt.empty()),
                terms);
        assertEquals(List.of(11, 8, 7), optionsIn(link.sent()));
    }

    @Test
    void aServerWithoutGoIsAskedByExportName() throws IOException {
        ServerBytes server =
                structured().reply(ServerBytes.GO, ServerBytes.UNSUP).u64(1000).u16(FLAGS);
        assertEquals(
                new Terms(ReplyStyle.STRUCTURED, 1000, FLAGS, 1, 0, 32 * MIB, OptionalInt.of(7)),
                negotiate(server, WISH));
    }

    @Test
    void flagsWithoutTheirFirstOneMeanNothing() throws IOException {
        assertEquals(0, negotiate(finish(structured().export(MIB, FLAGS & ~1)), WISH).flags());
    }

    @Test
    void informationThatNobodyAskedForIsIgnored() throws IOException {
        ServerBytes server =
                structured()
                        .reply(
                                ServerBytes.GO,
                                ServerBytes.INFO,
                                new ServerBytes().u16(999).ascii("what?").bytes())
                        .export(MIB, FLAGS);
        assertEquals(MIB, negotiate(finish(server), WISH).size());
    }

    @Test
    void aContextThatIsRequiredAndMissingIsAnError() {
        var wish = new Negotiation.Wish("disk", "qemu:dirty-bitmap:b", true, Optional.empty());
        ServerBytes server =
                new ServerBytes()
                        .greeting()
                        .reply(ServerBytes.EXTENDED, ServerBytes.ACK)
                        .reply(ServerBytes.SET_CONTEXT, ServerBytes.ACK);
        Refusal refusal = assertThrows(Refusal.class, () -> negotiate(server, wish));
        assertEquals(
                "requested x-dirty-bitmap qemu:dirty-bitmap:b not found", refusal.getMessage());
    }

    @ParameterizedTest
    @EnumSource(Reason.class)
    void everyRefusalIsASentenceAndWhatTheServerSaid(Reason reason) {
        if (reason == Reason.UNSUP) {
            return; // the older way is tried instead
        }
        ServerBytes server = structured().reply(ServerBytes.GO, reason.number(), "be\u001bcause");
        Refusal refusal = assertThrows(Refusal.class, () -> negotiate(server, WISH));
        assertTrue(refusal.hint().endsWith("server reported: be?cause"), refusal.hint());
        assertEquals(
                reason == Reason.TLS_REQD,
                refusal.hint().startsWith("Did you forget a valid tls-creds?\n"));
    }

    static Stream<Arguments> badServers() {
        ServerBytes endless = structured();
        for (int i = 0; i < 1000; i++) {
            endless.export(MIB, FLAGS);
        }
        return Stream.of(
                bad("HTTP/1.1 200 OK and more", "Bad initial magic received: 0x485454502f312e31"),
                bad("", "Failed to read initial magic: Unexpected end-of-file"),
                bad("NBDMAGIC", "Failed to read initial magic: Unexpected end-of-file"),
                bad("NBDMAGICIHAVEOPX\0\3", "Bad server magic received: 0x49484156454f5058"),
                bad("NBDMAGICIHAVEOPT\0\0", "Server does not support fixed newstyle"),
                bad(
                        new ServerBytes().greeting().put(new byte[20]),
                        "Unexpected option reply magic"),
                bad(
                        new ServerBytes().greeting().reply(ServerBytes.GO, ServerBytes.ACK),
                        "Unexpected option type 7, expected 11"),
                bad(
                        new ServerBytes()
                                .greeting()
                                .u64(0x3e889045565a9L)
                                .u32(ServerBytes.EXTENDED)
                                .u32(ServerBytes.ACK)
                                .u32(0x80000000L),
                        "response length is 2147483648, which is too long"),
                bad(
                        new ServerBytes()
                                .greeting()
                                .reply(ServerBytes.EXTENDED, ServerBytes.ACK, "x"),
                        "option reply of type 1 is too long"),
                bad(
                        new ServerBytes().greeting().reply(ServerBytes.EXTENDED, 99),
                        "unexpected option reply of type 99"),
                bad(
                        new ServerBytes()
                                .greeting()
                                .reply(ServerBytes.EXTENDED, ServerBytes.ACK)
                                .context(1, "base:something"),
                        "server answered with different context 'base:something'"),
                bad(
                        new ServerBytes()
                                .greeting()
                                .reply(ServerBytes.EXTENDED, ServerBytes.ACK)
                                .context(1, "base:allocation")
                                .context(2, "base:allocation"),
                        "server answered with different context 'base:allocation'"),
                bad(endless, "Unexpected reply to option 7 (go)"),
                bad(finish(structured()), "broken server omitted NBD_INFO_EXPORT"),
                bad(
                        structured().reply(ServerBytes.GO, ServerBytes.INFO, "x"),
                        "option reply of type 3 is too short"),
                bad(
                        structured().reply(ServerBytes.GO, 0x80000099, "no"),
                        "Unknown error code 0x80000099 when asking for option 7 (go)"),
                bad(finish(structured().export(-512, FLAGS)), "is too large"),
                badSizes(0, 512, 4096, "server minimum block size 0 is not a power of two"),
                badSizes(3, 512, 4096, "server minimum block size 3 is not a power of two"),
                badSizes(1L << 31, 512, 4096, "2147483648 is not a power of two"),
                badSizes(1 << 17, 1 << 17, 1 << 17, "minimum block size 131072 is larger than"),
                badSizes(512, 1000, 4096, "server preferred block size 1000 is not valid"),
                badSizes(512, 256, 4096, "server preferred block size 256 is not valid"),
                badSizes(4096, 4096, 512, "server maximum block size 512 is not valid"),
                bad(
                        finish(structured().sizes(4096, 4096, 65536).export(4097, FLAGS)),
                        "export length 4097 is not multiple of minimum block size 4096"));
    }

    private static Arguments bad(String bytes, String message) {
        return bad(new ServerBytes().ascii(bytes), message);
    }

    private static Arguments bad(ServerBytes server, String message) {
        return Arguments.of(message, server);
    }

    private static Arguments badSizes(long min, long preferred, long max, String message) {
        return bad(finish(structured().sizes(min, preferred, max).export(MIB, FLAGS)), message);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("badServers")
    void badServersAreRecognised(String message, ServerBytes server) {
        IOException failure = assertThrows(IOException.class, () -> negotiate(server, WISH));
        assertTrue(failure.getMessage().contains(message), failure.getMessage());
    }
}
