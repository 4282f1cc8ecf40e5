package io.blockwharf.api.qmp;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * A member whose name on the wire is not the component's name with dashes, or a value of an enum
 * for which the same is true ({@code io_uring}).
 */
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.RECORD_COMPONENT, ElementType.FIELD})
public @interface WireName {
    /** The name on the wire. */
    String value();
}
