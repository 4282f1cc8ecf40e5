package io.blockwharf.qmp.wire;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.PrettyPrinter;
import com.fasterxml.jackson.core.SerializableString;
import com.fasterxml.jackson.core.StreamWriteConstraints;
import com.fasterxml.jackson.core.io.CharacterEscapes;
import com.fasterxml.jackson.core.io.SerializedString;
import com.fasterxml.jackson.core.json.JsonWriteFeature;

import io.blockwharf.api.qmp.QmpDispatcher.Null;

import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.List;
import java.util.Map;

/** Writes JSON the way QMP servers do: pure ASCII, a blank after each colon and comma. */
public enum JsonText {
    /** All in one line. */
    LINE,
    /** A line for each member, indented by four blanks per level. */
    PRETTY;

    private static final JsonFactory FACTORY =
            JsonFactory.builder()
                    .enable(JsonWriteFeature.ESCAPE_NON_ASCII)
                    .streamWriteConstraints(
                            StreamWriteConstraints.builder()
                                    .maxNestingDepth(2 * JsonReader.MAX_NESTING)
                                    .build())
                    .build()
                    .setCharacterEscapes(new DeleteEscaped());

    /** Doubles up to here that are whole are written without a fraction. */
    private static final double MAX_WHOLE = 1e15;

    /** DEL is ASCII, but a control character. */
    private static final class DeleteEscaped extends CharacterEscapes {
        private final int[] escapes = standardAsciiEscapesForJSON();

        DeleteEscaped() {
            escapes[0x7f] = ESCAPE_STANDARD;
        }

        @Override
        public int[] getEscapeCodesForAscii() {
            return escapes;
        }

        @Override
        public SerializableString getEscapeSequence(int c) {
            return new SerializedString("\\u%04X".formatted(c));
        }
    }

    /**
     * Writes a value.
     *
     * @param value as described at {@link io.blockwharf.api.qmp.QmpDispatcher}
     * @throws IllegalArgumentException if it is none
     */
    public String of(Object value) {
        StringWriter text = new StringWriter();
        try (JsonGenerator json = FACTORY.createGenerator(text)) {
            json.setPrettyPrinter(new Layout(this == PRETTY));
            write(json, value);
        } catch (IOException e) {
            throw new UncheckedIOException(e); // not from a StringWriter
        }
        return text.toString();
    }

    private static void write(JsonGenerator json, Object value) throws IOException {
        switch (value) {
            case Map<?, ?> members -> {
                json.writeStartObject();
                for (Map.Entry<?, ?> member : members.entrySet()) {
                    json.writeFieldName((String) member.getKey());
                    write(json, member.getValue());
                }
                json.writeEndObject();
            }
            case List<?> elements -> {
                json.writeStartArray();
                for (Object element : elements) {
                    write(json, element);
                }
                json.writeEndArray();
            }
            case String text -> json.writeString(text);
            case Boolean truth -> json.writeBoolean(truth);
            case Null _ -> json.writeNull();
            case BigInteger number -> json.writeNumber(number);
            case BigDecimal number -> json.writeNumber(number);
            case Double number -> writeDouble(json, number);
            case Float number -> writeDouble(json, number.doubleValue());
            case Number number -> json.writeNumber(number.longValue());
            case null, default -> throw new IllegalArgumentException("no JSON value: " + value);
        }
    }

    private static void writeDouble(JsonGenerator json, double number) throws IOException {
        if (number == Math.rint(number) && Math.abs(number) < MAX_WHOLE) {
            json.writeNumber((long) number);
        } else {
            json.writeNumber(number);
        }
    }

    private static final class Layout implements PrettyPrinter {
        private final boolean lines;
        private int depth;

        Layout(boolean lines) {
            this.lines = lines;
        }

        private void newLine(JsonGenerator json) throws IOException {
            if (lines) {
                json.writeRaw('\n');
                for (int i = 0; i < depth; i++) {
                    json.writeRaw("    ");
                }
            }
        }

        private void open(JsonGenerator json, char bracket) throws IOException {
            json.writeRaw(bracket);
            depth++;
        }

        private void close(JsonGenerator json, char bracket) throws IOException {
            depth--;
            newLine(json);
            json.writeRaw(bracket);
        }

        private void separate(JsonGenerator json) throws IOException {
            json.writeRaw(lines ? "," : ", ");
            newLine(json);
        }

        @Override
        public void writeRootValueSeparator(JsonGenerator json) {}

        @Override
        public void writeStartObject(JsonGenerator json) throws IOException {
            open(json, '{');
        }

        @Override
        public void beforeObjectEntries(JsonGenerator json) throws IOException {
            newLine(json);
        }

        @Override
        public void writeObjectFieldValueSeparator(JsonGenerator json) throws IOException {
            json.writeRaw(": ");
        }

        @Override
        public void writeObjectEntrySeparator(JsonGenerator json) throws IOException {
            separate(json);
        }

        @Override
        public void writeEndObject(JsonGenerator json, int members) throws IOException {
            close(json, '}');
        }

        @Override
        public void writeStartArray(JsonGenerator json) throws IOException {
            open(json, '[');
        }

        @Override
        public void beforeArrayValues(JsonGenerator json) throws IOException {
            newLine(json);
        }

        @Override
        public void writeArrayValueSeparator(JsonGenerator json) throws IOException {
            separate(json);
        }

        @Override
        public void writeEndArray(JsonGenerator json, int elements) throws IOException {
            close(json, ']');
        }
    }
}
