package io.blockwharf.security;

import io.blockwharf.api.export.Authorizer;
import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.ObjectTypeName;

import org.osgi.service.component.annotations.Component;

/** The object type {@code authz-simple}: lets one identity in. */
@Component
@ObjectTypeName("authz-simple")
public final class AuthzSimple implements ObjectType<AuthzSimple.Properties> {
    /**
     * QAPI {@code AuthZSimpleProperties}.
     *
     * @param identity who is let in
     */
    public record Properties(String identity) {}

    @Override
    public Object create(String id, Properties properties) {
        Authorizer authorizer = properties.identity()::equals;
        return authorizer;
    }
}
