package io.blockwharf.api.qmp;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * A sealed interface of records with one component each: the JSON type of the value selects the
 * record (QAPI's alternate).
 */
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.TYPE})
public @interface Alternate {
    /** QAPI's name of the type, which errors tell; empty if it is the interface's. */
    String value() default "";
}
