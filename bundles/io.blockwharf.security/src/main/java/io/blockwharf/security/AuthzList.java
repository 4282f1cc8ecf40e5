package io.blockwharf.security;

import io.blockwharf.api.export.Authorizer;
import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;

import org.osgi.service.component.annotations.Component;

import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** The object type {@code authz-list}: the first rule that matches decides. */
@Component
@ObjectTypeName("authz-list")
public final class AuthzList implements ObjectType<AuthzList.Properties> {
    /** QAPI {@code QAuthZListPolicy}. */
    public enum Policy {
        /** Not let in. */
        DENY,
        /** Let in. */
        ALLOW
    }

    /** QAPI {@code QAuthZListFormat}. */
    public enum Format {
        /** The whole identity. */
        EXACT,
        /** With {@code *}, {@code ?} and {@code [...]} as fnmatch(3) has them. */
        GLOB
    }

    /**
     * QAPI {@code QAuthZListRule}.
     *
     * @param match an identity or a pattern
     * @param policy what happens to who matches
     * @param format what {@code match} is (default exact)
     */
    public record Rule(String match, Policy policy, Optional<Format> format) {
        boolean matches(String identity) {
            return switch (format.orElse(Format.EXACT)) {
                case EXACT -> match.equals(identity);
                case GLOB -> glob(match).matcher(identity).matches();
            };
        }
    }

    /**
     * QAPI {@code AuthZListProperties}.
     *
     * @param policy what happens to who matches no rule (default deny)
     * @param rules in order (default none)
     */
    public record Properties(Optional<Policy> policy, Optional<List<Rule>> rules) {}

    @Override
    public Object create(String id, Properties properties) {
        return of(properties);
    }

    /** Decides by these rules. */
    static Authorizer of(Properties properties) {
        List<Rule> rules = List.copyOf(properties.rules().orElse(List.of()));
        Policy otherwise = properties.policy().orElse(Policy.DENY);
        return identity ->
                rules.stream()
                                .filter(rule -> rule.matches(identity))
                                .findFirst()
                                .map(Rule::policy)
                                .orElse(otherwise)
                        == Policy.ALLOW;
    }

    /** fnmatch(3) without flags. */
    static Pattern glob(String pattern) {
        StringBuilder regex = new StringBuilder();
        for (int i = 0; i < pattern.length(); i++) {
            char c = pattern.charAt(i);
            int end = c == '[' ? pattern.indexOf(']', i + 2) : -1;
            if (c == '*') {
                regex.append(".*");
            } else if (c == '?') {
                regex.append('.');
            } else if (end > 0) {
                boolean not = pattern.charAt(i + 1) == '!';
                String set = pattern.substring(not ? i + 2 : i + 1, end);
                regex.append(not ? "[^" : "[");
                regex.append(set.replaceAll("[\\[\\]^&\\\\]", "\\\\$0")).append(']');
                i = end;
            } else if (c == '\\' && i + 1 < pattern.length()) {
                regex.append(Pattern.quote(pattern.substring(++i, i + 1)));
            } else {
                regex.append(Pattern.quote(String.valueOf(c)));
            }
        }
        return Pattern.compile(regex.toString(), Pattern.DOTALL);
    }
}
