package io.blockwharf.security;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.export.Authorizer;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.testing.RecordingLog;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.osgi.service.log.Logger;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** The object types authz-simple, authz-list and authz-list-file. */
class AuthorizerTest {
    /** Says nothing: what the file does is what counts. */
    private static final Logger LOGGER = new RecordingLog().logger;

    @Test
    void simpleLetsOneIn() {
        Authorizer one =
                (Authorizer) new AuthzSimple().create("a", new AuthzSimple.Properties("CN=me"));
        assertEquals(true, one.allows("CN=me"));
        assertEquals(false, one.allows("CN=me "));
        assertEquals(false, one.allows(""));
    }

    /** Rules: deny CN=fred exactly, allow CN=*, allow O=x?z; then the policy. */
    @ParameterizedTest
    @CsvSource({
        "CN=fred, DENY, false",
        "CN=bob, DENY, true",
        "O=xyz, DENY, true",
        "O=xyyz, DENY, false",
        "O=xyyz, ALLOW, true",
        "CN=fred, ALLOW, false",
    })
    void firstRuleThatMatchesDecides(String identity, AuthzList.Policy policy, boolean allowed) {
        Optional<AuthzList.Format> glob = Optional.of(AuthzList.Format.GLOB);
        Authorizer list =
                (Authorizer)
                        new AuthzList()
                                .create(
                                        "a",
                                        new AuthzList.Properties(
                                                Optional.of(policy),
                                                Optional.of(
                                                        List.of(
                                                                new AuthzList.Rule(
                                                                        "CN=fred",
                                                                        AuthzList.Policy.DENY,
                                                                        Optional.empty()),
                                                                new AuthzList.Rule(
                                                                        "CN=*",
                                                                        AuthzList.Policy.ALLOW,
                                                                        glob),
                                                                new AuthzList.Rule(
                                                                        "O=x?z",
                                                                        AuthzList.Policy.ALLOW,
                                                                        glob)))));
        assertEquals(allowed, list.allows(identity));
    }

    @Test
    void listWithoutAnythingDenies() {
        Authorizer nobody =
                (Authorizer)
                        new AuthzList()
                                .create(
                                        "a",
                                        new AuthzList.Properties(
                                                Optional.empty(), Optional.empty()));
        assertEquals(false, nobody.allows("CN=me"));
    }

    @TempDir Path directory;

    private Authorizer file(String content, boolean refresh) throws IOException {
        Path file = Files.writeString(directory.resolve("list"), content);
        return (Authorizer)
                new AuthzListFile(LOGGER)
                        .create(
                                "a",
                                new AuthzListFile.Properties(
                                        file.toString(), Optional.of(refresh)));
    }

    @ParameterizedTest
    @CsvSource({
        "CN=me, true",
        "CN=bob, false",
        "O=x, true",
    })
    void rulesFromAFile(String identity, boolean allowed) throws IOException {
        Authorizer list =
                file(
                        """
                        {"policy": "allow", "rules": [
                            {"match": "CN=me", "policy": "allow"},
                            {"match": "CN=*", "policy": "deny", "format": "glob"}]}
                        """,
                        true);
        assertEquals(allowed, list.allows(identity));
    }

    /** Also when it keeps its length, and when it breaks in between. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void changesOfTheFileCountIfWanted(boolean refresh) throws IOException {
        Path path = directory.resolve("list");
        Authorizer list = file("{'policy':'allow'}".replace('\'', '"'), refresh);
        assertEquals(true, list.allows("x"));
        for (String content : new String[] {"{\"policy\":\"deny\" }", "{", "[]", ""}) {
            Files.writeString(path, content);
            assertEquals(!refresh, list.allows("x"), content);
        }
        Files.delete(path);
        assertEquals(!refresh, list.allows("x"));
        Files.writeString(path, "{\"policy\":\"allow\"}");
        assertEquals(true, list.allows("x"));
    }

    @ParameterizedTest(name = "{0}: {1}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    []                    | File content must be a JSON object
                    {"x": 1}              | Parameter 'x' is unexpected
                    {"policy": "nix"}     | Parameter 'policy' does not accept value 'nix'
                    {"policy": 1}         | Invalid parameter type for 'policy', expected: string
                    {"rules": {}}         | Invalid parameter type for 'rules', expected: array
                    {"rules": [1]}        | Invalid parameter type for 'rules[0]', expected: object
                    {"rules": [{}]}       | Parameter 'match' is missing
                    {"rules": [{"match": "a"}]} | Parameter 'policy' is missing
                    {"rules": [{"y": 1}]} | Parameter 'y' is unexpected
                    {} {}                 | Expecting at most one JSON value
                    """)
    void damagedFiles(String content, String expected) {
        QmpException e = assertThrows(QmpException.class, () -> file(content, true));
        assertEquals(
                "Unable to parse '%s/list': %s".formatted(directory, expected), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "{\"policy\": \"deny\", \"policy\": \"allow\"}"})
    void whatIsNoJson(String content) {
        assertThrows(QmpException.class, () -> file(content, true));
    }

    /** fnmatch(3). */
    @ParameterizedTest(name = "{0} {1} -> {2}")
    @CsvSource({
        "a*, abc, true",
        "a*, ba, false",
        "*, '', true",
        "a.c, abc, false",
        "a[bc]d, abd, true",
        "a[!bc]d, abd, false",
        "a[!bc]d, axd, true",
        "a[b-d]e, ace, true",
        "a\\*, a*, true",
        "a\\*, ab, false",
        "'CN=*,O=x', 'CN=y,O=x', true",
        "a[b, a[b, true",
        "a(b, a(b, true",
    })
    void globs(String pattern, String text, boolean matches) {
        assertEquals(matches, AuthzList.glob(pattern).matcher(text).matches());
    }
}
