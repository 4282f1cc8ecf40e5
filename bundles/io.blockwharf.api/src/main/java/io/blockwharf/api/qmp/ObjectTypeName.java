package io.blockwharf.api.qmp;

import org.osgi.service.component.annotations.ComponentPropertyType;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Names the type of an {@link ObjectType} component: service property {@code object.type.name}. */
@ComponentPropertyType
@Retention(RetentionPolicy.CLASS)
@Target(ElementType.TYPE)
public @interface ObjectTypeName {
    /** The name, as in {@code qom-type=}. */
    String value();
}
