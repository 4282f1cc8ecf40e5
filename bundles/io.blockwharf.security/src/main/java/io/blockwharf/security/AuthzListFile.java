package io.blockwharf.security;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;

import io.blockwharf.api.export.Authorizer;
import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * The object type {@code authz-list-file}: the rules of an {@code authz-list}, as JSON in a file.
 *
 * <p>With {@code refresh} the file is read for every decision, so that a decision is never older
 * than the file; QEMU waits for inotify to tell. A file that has become unreadable lets nobody in,
 * as in QEMU.
 */
@Component
@ObjectTypeName("authz-list-file")
public final class AuthzListFile implements ObjectType<AuthzListFile.Properties> {
    /**
     * QAPI {@code AuthZListFileProperties}.
     *
     * @param filename the file
     * @param refresh whether changes of the file count (default true)
     */
    public record Properties(String filename, Optional<Boolean> refresh) {}

    /** Larger files are something else. */
    private static final long MAX_BYTES = 1 << 20;

    private static final JsonFactory JSON =
            JsonFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

    private final Logger logger;

    /** Says there what is wrong with a file that has changed. */
    @Activate
    public AuthzListFile(@Reference(service = LoggerFactory.class) Logger logger) {
        this.logger = logger;
    }

    @Override
    public Object create(String id, Properties properties) {
        Path file = Path.of(properties.filename());
        byte[] content = read(file);
        Authorizer list = parse(file, content);
        return properties.refresh().orElse(true) ? new Following(file, content, list) : list;
    }

    /** The rules of the file as it is now. */
    private final class Following implements Authorizer {
        private final Path file;

        /** What {@link #list} was made of; both guarded by this. */
        private byte[] known;

        private Authorizer list;

        Following(Path file, byte[] known, Authorizer list) {
            this.file = file;
            this.known = known;
            this.list = list;
        }

        @Override
        public boolean allows(String identity) {
            return now().allows(identity);
        }

        private synchronized Authorizer now() {
            byte[] content = {};
            try {
                content = read(file);
                if (!Arrays.equals(content, known)) {
                    list = parse(file, content);
                }
            } catch (QmpException e) {
                if (!Arrays.equals(content, known)) {
                    logger.error("Nobody is let in: {}", e.getMessage());
                }
                list = _ -> false;
            }
            known = content;
            return list;
        }
    }

    private static byte[] read(Path file) {
        try {
            if (Files.size(file) > MAX_BYTES) {
                throw QmpException.generic("Unable to read '%s': File too large", file);
            }
            return Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw new QmpException(
                    "Unable to read '%s': No such file or directory".formatted(file), e);
        } catch (IOException e) {
            throw new QmpException("Unable to read '%s': %s".formatted(file, e.getMessage()), e);
        }
    }

    private static Authorizer parse(Path file, byte[] content) {
        try (JsonParser json = JSON.createParser(content)) {
            AuthzList.Properties properties = list(json);
            if (json.nextToken() != null) {
                throw new IllegalArgumentException("Expecting at most one JSON value");
            }
            return AuthzList.of(properties);
        } catch (JsonProcessingException e) {
            throw new QmpException(
                    "Unable to parse '%s': JSON parse error, %s"
                            .formatted(file, e.getOriginalMessage()),
                    e);
        } catch (IOException | IllegalArgumentException e) {
            throw new QmpException("Unable to parse '%s': %s".formatted(file, e.getMessage()), e);
        }
    }

    private static AuthzList.Properties list(JsonParser json) throws IOException {
        Optional<AuthzList.Policy> policy = Optional.empty();
        Optional<List<AuthzList.Rule>> rules = Optional.empty();
        expect(json, JsonToken.START_OBJECT, "File content must be a JSON object");
        while (json.nextToken() == JsonToken.FIELD_NAME) {
            switch (json.currentName()) {
                case "policy" -> policy = Optional.of(word(json, AuthzList.Policy.class));
                case "rules" -> rules = Optional.of(rules(json));
                default -> throw unexpected(json);
            }
        }
        return new AuthzList.Properties(policy, rules);
    }

    private static List<AuthzList.Rule> rules(JsonParser json) throws IOException {
        List<AuthzList.Rule> rules = new ArrayList<>();
        expect(json, JsonToken.START_ARRAY, "Invalid parameter type for 'rules', expected: array");
        while (json.nextToken() != JsonToken.END_ARRAY) {
            if (json.currentToken() != JsonToken.START_OBJECT) {
                throw new IllegalArgumentException(
                        "Invalid parameter type for 'rules[%d]', expected: object"
                                .formatted(rules.size()));
            }
            rules.add(rule(json));
        }
        return rules;
    }

    private static AuthzList.Rule rule(JsonParser json) throws IOException {
        Optional<String> match = Optional.empty();
        Optional<AuthzList.Policy> policy = Optional.empty();
        Optional<AuthzList.Format> format = Optional.empty();
        while (json.nextToken() == JsonToken.FIELD_NAME) {
            switch (json.currentName()) {
                case "match" -> match = Optional.of(text(json));
                case "policy" -> policy = Optional.of(word(json, AuthzList.Policy.class));
                case "format" -> format = Optional.of(word(json, AuthzList.Format.class));
                default -> throw unexpected(json);
            }
        }
        return new AuthzList.Rule(
                match.orElseThrow(() -> missing("match")),
                policy.orElseThrow(() -> missing("policy")),
                format);
    }

    private static void expect(JsonParser json, JsonToken token, String otherwise)
            throws IOException {
        if (json.nextToken() != token) {
            throw new IllegalArgumentException(otherwise);
        }
    }

    private static String text(JsonParser json) throws IOException {
        String name = json.currentName();
        expect(
                json,
                JsonToken.VALUE_STRING,
                "Invalid parameter type for '%s', expected: string".formatted(name));
        return json.getText();
    }

    private static <E extends Enum<E>> E word(JsonParser json, Class<E> type) throws IOException {
        String name = json.currentName();
        String value = text(json);
        for (E each : type.getEnumConstants()) {
            if (each.name().toLowerCase(Locale.ROOT).equals(value)) {
                return each;
            }
        }
        throw new IllegalArgumentException(
                "Parameter '%s' does not accept value '%s'".formatted(name, value));
    }

    private static IllegalArgumentException unexpected(JsonParser json) throws IOException {
        return new IllegalArgumentException(
                "Parameter '%s' is unexpected".formatted(json.currentName()));
    }

    private static IllegalArgumentException missing(String name) {
        return new IllegalArgumentException("Parameter '%s' is missing".formatted(name));
    }
}
