package io.blockwharf.api.export;

import org.osgi.service.component.annotations.ComponentPropertyType;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Names the type that a {@link BlockExportDriver} component serves: service property {@code
 * export.type}.
 */
@ComponentPropertyType
@Retention(RetentionPolicy.CLASS)
@Target(ElementType.TYPE)
public @interface ExportType {
    /** The type, as in {@code type=}. */
    String value();
}
