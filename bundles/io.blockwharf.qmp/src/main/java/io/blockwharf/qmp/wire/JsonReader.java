package io.blockwharf.qmp.wire;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.async.ByteArrayFeeder;
import com.fasterxml.jackson.core.json.JsonReadFeature;

import io.blockwharf.api.qmp.QmpDispatcher.Null;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/**
 * Finds the JSON values in a stream of bytes, however it is cut into pieces. Not thread-safe.
 *
 * <p>The dialect is QMP's: RFC 8259, and strings may also stand in single quotes. Values may follow
 * each other without anything in between. What is no JSON is reported, and reading begins afresh
 * after the end of the line, or after a byte 0xFE or 0xFF: qmp-spec, "Compatibility
 * Considerations", has clients send 0xFF to get out of whatever was begun.
 *
 * <p>A value may nest {@value #MAX_NESTING} deep, and have {@value #MAX_BYTES} bytes in {@value
 * #MAX_TOKENS} tokens: the daemon's heap is small. Whoever lets others send may also bound how many
 * have large values at the same time.
 */
public final class JsonReader {
    /** Open brackets and braces. */
    static final int MAX_NESTING = 1024;

    /** Bytes of one value, up to the end of its last line. */
    static final int MAX_BYTES = 4 << 20;

    /** Tokens of one value. */
    static final int MAX_TOKENS = 1 << 18;

    /** Bytes and tokens beyond which a value is large: its reader is asked whether to go on. */
    static final int LARGE_BYTES = 64 << 10;

    static final int LARGE_TOKENS = 1 << 12;

    /** What was found. */
    public sealed interface Found {}

    /**
     * A value.
     *
     * @param value as described at {@link io.blockwharf.api.qmp.QmpDispatcher}
     */
    public record Value(Object value) implements Found {}

    /**
     * Something else.
     *
     * @param message a sentence for the sender
     */
    public record Malformed(String message) implements Found {}

    private static final JsonFactory FACTORY =
            JsonFactory.builder()
                    .enable(JsonReadFeature.ALLOW_SINGLE_QUOTES)
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                    .streamReadConstraints(
                            StreamReadConstraints.builder()
                                    .maxNestingDepth(MAX_NESTING)
                                    .maxStringLength(MAX_BYTES)
                                    .build())
                    .build();

    private static final BigInteger UINT64_MAX =
            BigInteger.TWO.pow(Long.SIZE).subtract(BigInteger.ONE);

    private final Consumer<? super Found> sink;
    private final BooleanSupplier admission;
    private final Tree tree = new Tree();
    private final TrailingComma trailingComma = new TrailingComma();
    private JsonParser parser;

    /** Bytes since the last value was complete. */
    private long valueBytes;

    /** Whether the value is large, and may be. */
    private boolean admitted;

    /** Whether what comes is dropped up to the next place where reading can begin afresh. */
    private boolean skipping;

    /**
     * A reader at the beginning of a stream, which tells {@code sink} what it finds.
     *
     * @param admission asked once for each large value while it is read; without it, the value is
     *     too large
     */
    public JsonReader(Consumer<? super Found> sink, BooleanSupplier admission) {
        this.sink = sink;
        this.admission = admission;
        parser = newParser();
    }

    private static JsonParser newParser() {
        try {
            return FACTORY.createNonBlockingByteArrayParser();
        } catch (IOException e) {
            throw new UncheckedIOException(e); // there is no input yet that could fail
        }
    }

    /** What a text is that should be one value. */
    public static Found parse(String text) {
        List<Found> found = new ArrayList<>();
        JsonReader reader = new JsonReader(found::add, () -> true);
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        reader.read(bytes, 0, bytes.length);
        reader.end();
        if (found.isEmpty()) {
            return new Malformed("Expecting a JSON value");
        }
        return found.size() > 1 && found.getFirst() instanceof Value
                ? new Malformed("Expecting at most one JSON value")
                : found.getFirst();
    }

    /** Takes the next bytes of the stream. */
    public void read(byte[] bytes, int offset, int count) {
        int end = offset + count;
        for (int start = offset; start < end; ) {
            int next = start;
            while (next < end && !isFreshStart(bytes[next])) {
                next++;
            }
            boolean complete = next < end;
            next += complete ? 1 : 0;
            if (!skipping) {
                take(bytes, start, next);
            }
            skipping &= !complete;
            start = next;
        }
    }

    private static boolean isFreshStart(byte b) {
        return b == '\n' || b == (byte) 0xfe || b == (byte) 0xff;
    }

    /** Parses bytes of one line. */
    private void take(byte[] bytes, int start, int end) {
        valueBytes += end - start;
        int closing = trailingComma.find(bytes, start, end);
        int good = closing < 0 ? end : closing;
        try {
            ((ByteArrayFeeder) parser.getNonBlockingInputFeeder()).feedInput(bytes, start, good);
            tokens();
            if (closing >= 0 && !skipping) {
                malformed("JSON parse error, expecting value");
            }
        } catch (JsonProcessingException e) {
            malformed("JSON parse error, " + firstLine(e.getOriginalMessage()));
        } catch (IOException e) {
            throw new UncheckedIOException(e); // the input is an array
        }
    }

    /** The stream ends: reports a value that is not complete. */
    public void end() {
        try {
            parser.getNonBlockingInputFeeder().endOfInput();
            tokens();
        } catch (JsonProcessingException e) {
            malformed("JSON parse error, " + firstLine(e.getOriginalMessage()));
        } catch (IOException e) {
            throw new UncheckedIOException(e); // the input is an array
        }
    }

    private static String firstLine(String message) {
        int end = message.indexOf('\n');
        return end < 0 ? message : message.substring(0, end);
    }

    private void malformed(String message) {
        tree.clear();
        trailingComma.clear();
        parser = newParser();
        valueBytes = 0;
        admitted = false;
        skipping = true;
        sink.accept(new Malformed(message));
    }

    private void tokens() throws IOException {
        for (JsonToken token = parser.nextToken();
                token != JsonToken.NOT_AVAILABLE && token != null;
                token = parser.nextToken()) {
            if (token == JsonToken.END_OBJECT && tree.lacksValue()) {
                // The non-blocking parser lets {"a":} pass.
                malformed("JSON parse error, expecting value");
                return;
            } else if (tree.add(token, parser)) {
                Object value = tree.take();
                valueBytes = 0;
                admitted = false;
                sink.accept(new Value(value));
            } else if (tree.tokens() > MAX_TOKENS) {
                malformed("JSON token count limit exceeded");
                return;
            } else if (tree.tokens() == LARGE_TOKENS && !mayBeLarge()) {
                malformed("JSON token count limit exceeded");
                return;
            }
        }
        if (tree.isEmpty()) {
            valueBytes = 0; // blanks, or part of a scalar, which the parser bounds
        } else if (valueBytes > MAX_BYTES || valueBytes > LARGE_BYTES && !mayBeLarge()) {
            malformed("JSON token size limit exceeded");
        }
    }

    private boolean mayBeLarge() {
        admitted = admitted || admission.getAsBoolean();
        return admitted;
    }

    /** Watches for {"a": 1,}: the parser lets it pass when the comma ends a piece. */
    private static final class TrailingComma {
        /** The quote that will end the string, or 0 outside of strings. */
        private byte quote;

        private boolean escaped;
        private boolean comma;

        /** Where the first bracket or brace is that closes after a comma, or -1. */
        int find(byte[] bytes, int start, int end) {
            for (int i = start; i < end; i++) {
                byte b = bytes[i];
                if (quote != 0) {
                    quote = b == quote && !escaped ? 0 : quote;
                    escaped = b == '\\' && !escaped;
                } else if (comma && (b == ']' || b == '}')) {
                    return i;
                } else if (b != ' ' && b != '\t' && b != '\r' && b != '\n') {
                    comma = b == ',';
                    quote = b == '"' || b == '\'' ? b : 0;
                }
            }
            return -1;
        }

        void clear() {
            quote = 0;
            escaped = false;
            comma = false;
        }
    }

    /** A value that is being put together. */
    private static final class Tree {
        /** Maps and lists that are not complete, the innermost last. */
        private final Deque<Object> open = new ArrayDeque<>();

        private Object root = Null.NULL;
        private int tokens;

        /** Whether the token before was a member's name. */
        private boolean named;

        /** Whether a member has a name only. */
        boolean lacksValue() {
            return named;
        }

        boolean isEmpty() {
            return tokens == 0;
        }

        int tokens() {
            return tokens;
        }

        void clear() {
            open.clear();
            root = Null.NULL;
            tokens = 0;
            named = false;
        }

        Object take() {
            Object value = root;
            clear();
            return value;
        }

        /** Adds what a token stands for; true if that made the value complete. */
        boolean add(JsonToken token, JsonParser at) throws IOException {
            tokens++;
            named = token == JsonToken.FIELD_NAME;
            switch (token) {
                case START_OBJECT -> open(new LinkedHashMap<String, Object>(), at);
                case START_ARRAY -> open(new ArrayList<>(), at);
                case END_OBJECT, END_ARRAY -> open.removeLast();
                case FIELD_NAME -> {}
                case VALUE_STRING -> put(at.getText(), at);
                case VALUE_TRUE -> put(true, at);
                case VALUE_FALSE -> put(false, at);
                case VALUE_NULL -> put(Null.NULL, at);
                case VALUE_NUMBER_INT -> put(integer(at), at);
                case VALUE_NUMBER_FLOAT -> put(at.getDoubleValue(), at);
                case VALUE_EMBEDDED_OBJECT, NOT_AVAILABLE ->
                        throw new IllegalStateException("not in JSON text: " + token);
            }
            return open.isEmpty();
        }

        private void open(Object container, JsonParser at) throws IOException {
            put(container, at);
            open.add(container);
        }

        // A map's keys and a list's elements are what is put here.
        @SuppressWarnings("unchecked")
        private void put(Object value, JsonParser at) throws IOException {
            switch (open.peekLast()) {
                case Map<?, ?> object ->
                        ((Map<String, Object>) object).put(at.currentName(), value);
                case List<?> array -> ((List<Object>) array).add(value);
                case null, default -> root = value;
            }
        }

        /** 64 bits, signed or unsigned; what is beyond becomes a floating-point number. */
        private static Object integer(JsonParser at) throws IOException {
            return switch (at.getNumberType()) {
                case INT, LONG -> at.getLongValue();
                default -> {
                    BigInteger number = at.getBigIntegerValue();
                    yield number.signum() > 0 && number.compareTo(UINT64_MAX) <= 0
                            ? number
                            : (Object) number.doubleValue();
                }
            };
        }
    }
}
