package io.blockwharf.core.security;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.blockwharf.api.export.Authorizer;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.List;
import java.util.Optional;

/** The object types authz-simple and authz-list. */
class AuthorizerTest {
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
